package desttest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	pdk "github.com/leat-etl/leat/pdk/go"

	"github.com/leat-etl/leat/engine/batch"
)

// The promises of a target that tables of several databases share.

func (c cases) truncatesOwn(t *testing.T) {
	for i, key := range []bool{true, false} {
		for j, config := range []string{`{}`, `{"deletes": "hard"}`} {
			c.truncatesOwnTable(t, config, fmt.Sprintf("merged_%d_%d", i, j), key)
		}
	}
}

func (c cases) truncatesOwnTable(t *testing.T, config, name string, key bool) {
	d := c.open(config)
	var plans [2]*pdk.TablePlan
	var schemas [2]*batch.Schema
	for i, database := range []string{"eu", "us"} {
		s := modelSchema(name)
		s.Table.Database = database
		s.Columns[2].Name, s.Columns[2].Key = "__leat_database_name", 2
		s.Columns[2].Nullable = false
		if !key {
			s.Columns[0].Key, s.Columns[2].Key = 0, 0
		}
		schemas[i], plans[i] = s, c.plan(t, d, s)
		c.write(t, d, plans[i], s, change{kind: 'I', id: 1, name: text(database), big: text(database)})
	}
	c.write(t, d, plans[0], schemas[0], change{kind: 'T'})
	c.commit(t, d)
	c.want(t, plans[1].Read, "1 us us")
}

// losesTarget drops a target of two databases. Neither's rows go into a new one
// before the table has begun anew, and that of one is not that of the other.
func (c cases) losesTarget(t *testing.T) {
	d := c.open(`{}`)
	var schemas [2]*batch.Schema
	for i, database := range []string{"eu", "us"} {
		s := modelSchema("dropped")
		s.Table.Database = database
		s.Columns[2].Name, s.Columns[2].Key, s.Columns[2].Nullable = "__leat_database_name", 2, false
		schemas[i] = s
		c.deliver(t, d, func() error {
			b := build(s, []change{{kind: 'I', id: 1, name: text("a"), big: text(database)}})
			defer b.Release()
			return c.Write(d, c.plan(t, d, s), b)
		})
	}
	try := func(s *batch.Schema, changes ...change) error {
		b := build(s, changes)
		defer b.Release()
		return c.Write(d, c.plan(t, d, s), b)
	}
	refused := func(s *batch.Schema) {
		t.Helper()
		var e *pdk.SQLError
		if err := try(s, change{kind: 'I', id: 2, name: text("b"), big: text(s.Table.Database)}); !errors.As(err, &e) || e.Class != pdk.ClassSchema || !strings.Contains(e.Message, "leat objects restart") {
			t.Errorf("rows of %s: %v, want the refusal of a target that is gone", s.Table, err)
		}
		if err := d.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.DB.Exec(c.ctx, fmt.Sprintf(`DROP TABLE "%s".dropped`, c.schema)); err != nil {
		t.Fatal(err)
	}
	if err := d.Rollback(); err != nil {
		t.Fatal(err)
	}
	refused(schemas[0])
	d = c.open(`{}`)
	refused(schemas[1])
	again := func(s *batch.Schema) {
		t.Helper()
		c.deliver(t, d, func() error {
			return errors.Join(try(s), try(s, change{kind: 'T'}))
		})
		c.deliver(t, d, func() error {
			return try(s, change{kind: 'R', id: 1, name: text("again"), big: text(s.Table.Database)})
		})
	}
	again(schemas[0])
	refused(schemas[1])
	d = c.open(`{}`)
	refused(schemas[1])
	again(schemas[1])
	for _, s := range schemas {
		c.deliver(t, d, func() error { return try(s, change{kind: 'I', id: 2, name: text("b"), big: text(s.Table.Database)}) })
	}
	c.want(t, fmt.Sprintf(`SELECT id, name, "__leat_database_name" FROM "%s".dropped WHERE NOT "__leat_marked_deleted" ORDER BY 2, 3`, c.schema), "1 again eu\n1 again us\n2 b eu\n2 b us")
}

// defaultsOwn adds a column with a default to one of two tables that are
// merged: later rows of the other, whose plan does not have it, do not get it.
func (c cases) defaultsOwn(t *testing.T) {
	d := c.open(`{}`)
	schema := func(database string, version uint64) *batch.Schema {
		s := modelSchema("own_defaults")
		s.Table.Database, s.Version = database, version
		s.Columns[2].Name, s.Columns[2].Key, s.Columns[2].Nullable = "__leat_database_name", 2, false
		for i := range 2 {
			s.Columns[i].ID = i + 1
		}
		return s
	}
	eu, us := schema("eu", 1), schema("us", 1)
	ofEU := c.plan(t, d, eu)
	c.write(t, d, ofEU, eu, change{kind: 'I', id: 1, name: text("a"), big: text("eu")})
	c.write(t, d, c.plan(t, d, us), us, change{kind: 'I', id: 1, name: text("b"), big: text("us")})
	c.commit(t, d)
	us = schema("us", 2)
	more := us.Columns[1]
	more.Name, more.ID, more.Missing = "more", 3, text("seven")
	us.Columns = append(us.Columns, more)
	b := batch.NewBuilder(us)
	b.Column(0).AppendUint64(2)
	for i, cell := range []string{"c", "us", "eight"} {
		b.Column(i + 1).AppendBytes([]byte(cell))
	}
	b.EndRow(batch.Insert, 1, 1, 1)
	added := b.Finish(batch.Position{})
	defer added.Release()
	c.deliver(t, d, func() error { return c.Write(d, c.plan(t, d, us), added) })
	c.write(t, d, ofEU, eu, change{kind: 'I', id: 2, name: text("d"), big: text("eu")})
	c.commit(t, d)
	c.want(t, fmt.Sprintf(`SELECT id, "__leat_database_name", more FROM "%s".own_defaults ORDER BY 2, 1`, c.schema), "1 eu NULL\n2 eu NULL\n1 us seven\n2 us eight")
}

// renamesOwn renames a column of one of two tables that are merged to what a
// column of the other is called, of whose rows none has come yet.
func (c cases) renamesOwn(t *testing.T) {
	d := c.open(`{}`)
	schema := func(version uint64, numbers map[string]int) *batch.Schema {
		s := modelSchema("own_renames")
		s.Table.Database, s.Version = "eu", version
		s.Columns[2].Name, s.Columns[2].Key, s.Columns[2].Nullable = "__leat_database_name", 2, false
		s.Columns[0].ID = 1
		for _, name := range []string{"before", "after"} {
			if number, ok := numbers[name]; ok {
				more := s.Columns[1]
				more.Name, more.ID = name, number
				s.Columns = append(s.Columns, more)
			}
		}
		s.Columns = slices.Delete(s.Columns, 1, 2)
		return s
	}
	write := func(s *batch.Schema, id uint64, cells ...string) {
		b := batch.NewBuilder(s)
		b.Column(0).AppendUint64(id)
		for i, cell := range cells {
			b.Column(i + 1).AppendBytes([]byte(cell))
		}
		b.EndRow(batch.Insert, 1, 1, 1)
		rows := b.Finish(batch.Position{})
		defer rows.Release()
		c.deliver(t, d, func() error { return c.Write(d, c.plan(t, d, s), rows) })
		c.commit(t, d)
	}
	write(schema(1, map[string]int{"before": 2, "after": 0}), 1, "eu", "a", "")
	write(schema(2, map[string]int{"after": 2}), 2, "eu", "b")
	c.want(t, fmt.Sprintf(`SELECT id, after FROM "%s".own_renames ORDER BY 1`, c.schema), "1 a\n2 b")
}

// keyWithNull merges tables of which one has a column more in its key. That one
// comes alone at first, and is in the middle of its load or through with it when
// the rows of the other come.
func (c cases) keyWithNull(t *testing.T) {
	for _, ended := range []bool{false, true} {
		d := c.open(`{}`)
		schema := func(database string, nullable bool) *batch.Schema {
			s := modelSchema(fmt.Sprintf("key_with_null_%v", ended))
			s.Table.Database, s.Columns[0].Key, s.Columns[1].Key, s.Columns[2].Key = database, 1, 2, 3
			s.Columns[1].Name, s.Columns[1].Nullable, s.Columns[2].Name, s.Columns[2].Nullable = "state", nullable, "__leat_database_name", false
			if nullable {
				s.Version++
			}
			s.Columns = s.Columns[:3]
			return s
		}
		write := func(s *batch.Schema, op batch.Op, id uint64, state string) {
			b := batch.NewBuilder(s)
			b.Column(0).AppendUint64(id)
			if state == "" {
				b.Column(1).AppendNull()
			} else {
				b.Column(1).AppendBytes([]byte(state))
			}
			b.Column(2).AppendBytes([]byte(s.Table.Database))
			b.EndRow(op, 1, 1, 1)
			rows := b.Finish(batch.Position{})
			defer rows.Release()
			c.deliver(t, d, func() error { return c.Write(d, c.plan(t, d, s), rows) })
			c.commit(t, d)
		}
		write(schema("us", false), batch.Read, 1, "CA")
		if ended {
			write(schema("us", false), batch.Update, 1, "CA")
		}
		write(schema("eu", true), batch.Read, 1, "")
		write(schema("us", true), batch.Read, 1, "NY")
		write(schema("eu", true), batch.Update, 1, "")
		write(schema("us", true), batch.Update, 1, "NY")
		c.want(t, fmt.Sprintf(`SELECT id, state, "__leat_database_name" FROM "%s"."key_with_null_%v" ORDER BY 3, 2`, c.schema, ended), "1 NULL eu\n1 CA us\n1 NY us")
	}
}
