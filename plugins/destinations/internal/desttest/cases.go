package desttest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	pdk "github.com/leat-etl/leat/pdk/go"

	"github.com/leat-etl/leat/engine/batch"
)

// Cases are the promises of every SQL destination beside Random. schema is
// where tables of public land.
func Cases(t *testing.T, h *Host, open func(config string) pdk.Destination, schema string) {
	c := cases{h, open, schema}
	t.Run("checkpoints are kept by pipeline", c.checkpoints)
	t.Run("rows and checkpoint are one transaction", c.oneTransaction)
	t.Run("append keeps every change", c.appends)
	t.Run("the table follows its schema", c.evolves)
	t.Run("a table may be altered after its rows in one transaction", c.altersWritten)
	t.Run("a type that cannot follow becomes text", c.becomesText)
	t.Run("two tables cannot share a target", c.collides)
	t.Run("a table without key is appended to", c.keyless)
	t.Run("a row may be all key", c.allKey)
	t.Run("an ignored delete changes nothing", c.ignores)
	t.Run("a truncate spares other databases", c.truncatesOwn)
	t.Run("a target that was dropped is not made again for the next rows", c.losesTarget)
	t.Run("a default is for rows of its source", c.defaultsOwn)
	t.Run("a column gets the name of one that another source has brought", c.renamesOwn)
	t.Run("a key turns out to be NULL in another source", c.keyWithNull)
	t.Run("a change without rows was cut off before it was noted", c.notesLate)
	t.Run("a column comes late, of rows that the target is ahead of", c.comesLate)
	t.Run("the plan writes nothing", c.plansOnly)
	t.Run("a first load ends with a table that merges", c.loads)
}

type cases struct {
	*Host
	open   func(config string) pdk.Destination
	schema string
}

func (c cases) plan(t *testing.T, d pdk.Destination, s *batch.Schema) *pdk.TablePlan {
	t.Helper()
	p, err := c.Plan(d, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (c cases) write(t *testing.T, d pdk.Destination, p *pdk.TablePlan, s *batch.Schema, changes ...change) {
	t.Helper()
	b := build(s, changes)
	defer b.Release()
	if err := c.Write(d, p, b); err != nil {
		t.Fatal(err)
	}
}

// deliver makes the writes of a transaction, again from the first if the
// destination asks for it, as the engine does.
func (c cases) deliver(t *testing.T, d pdk.Destination, writes func() error) {
	t.Helper()
	for range 3 {
		err := writes()
		if err == nil {
			c.commit(t, d)
			return
		}
		var e *pdk.SQLError
		if !errors.As(err, &e) || e.Class != pdk.ClassConnection {
			t.Fatal(err)
		}
		if err := d.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the delivery is refused for ever")
}

func (c cases) commit(t *testing.T, d pdk.Destination) {
	t.Helper()
	if err := d.Commit(nil); err != nil {
		t.Fatal(err)
	}
}

// rows asks the database and returns one line a row.
func (c cases) rows(t *testing.T, sql string) string {
	t.Helper()
	found, err := c.DB.Query(c.ctx, sql)
	if err != nil {
		t.Fatal(err)
	}
	lines := make([]string, len(found.Rows))
	for i, r := range found.Rows {
		cells := make([]string, len(r))
		for j, v := range r {
			cells[j] = show(v)
		}
		lines[i] = strings.Join(cells, " ")
	}
	return strings.Join(lines, "\n")
}

func (c cases) want(t *testing.T, sql, want string) {
	t.Helper()
	if got := c.rows(t, sql); got != want {
		t.Errorf("%s\ngot:\n%s\nwant:\n%s", sql, got, want)
	}
}

func text(s string) *string { return &s }

func insert(id int64, name string) change {
	return change{kind: 'I', id: id, name: text(name), big: text("big")}
}

func (c cases) checkpoints(t *testing.T) {
	d := c.open(`{}`)
	for _, entries := range [][]pdk.Checkpoint{
		{{Key: "position", Value: text("1:0/1")}, {Key: "it's", Value: text("a 'quoted' value")}},
		{{Key: "position", Value: text("1:0/2")}, {Key: "it's"}},
	} {
		if err := d.Commit(entries); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.open(`{}`).Checkpoint()
	if err != nil || len(got) != 1 || got[0].Key != "position" || *got[0].Value != "1:0/2" {
		t.Errorf("%v, %v", got, err)
	}
}

func (c cases) oneTransaction(t *testing.T) {
	d := c.open(`{}`)
	s := modelSchema("undone")
	p := c.plan(t, d, s)
	c.write(t, d, p, s, insert(1, "a"))
	if err := d.Rollback(); err != nil {
		t.Fatal(err)
	}
	if c.rows(t, `SELECT table_name FROM information_schema.tables WHERE table_name = 'undone'`) != "" {
		c.want(t, p.Read, "") // made apart, but without the row
	}
	c.write(t, d, p, s, insert(1, "a"))
	c.commit(t, d)
	c.want(t, p.Read, "1 a big")
}

func (c cases) appends(t *testing.T) {
	d := c.open(`{"load_mode": "append"}`)
	s := modelSchema("appended")
	p := c.plan(t, d, s)
	c.write(t, d, p, s, insert(1, "a"), insert(2, "b"))
	c.write(t, d, p, s,
		change{kind: 'U', id: 1, name: text("c"), bigAbsent: true},
		change{kind: 'M', from: 2, id: 3, name: text("d"), big: text("x")},
		change{kind: 'D', id: 1})
	c.write(t, d, p, s, change{kind: 'T'})
	c.commit(t, d)
	c.want(t, fmt.Sprintf(`SELECT id, name, big, "__leat_op_type", "__leat_unchanged" FROM "%s"."appended" ORDER BY CASE WHEN "__leat_op_type" = 'T' THEN 1 ELSE 0 END, "__leat_op_type", id, name`, c.schema),
		"1 NULL NULL D NULL\n2 NULL NULL D NULL\n1 a big I NULL\n2 b big I NULL\n1 c NULL U big\n3 d x U NULL\nNULL NULL NULL T NULL")
}

// evolves adds a column, drops one, and widens the key, between two writes of
// one transaction and after it.
func (c cases) evolves(t *testing.T) {
	d := c.open(`{}`)
	one := modelSchema("evolving")
	one.Columns[0].Type, one.Columns[0].PG = arrow.PrimitiveTypes.Int32, batch.PGType{Name: "int4", OID: 23, Typmod: -1, Kind: "b"}
	p1 := c.plan(t, d, one)
	b := batch.NewBuilder(one)
	b.Column(0).AppendUint32(1)
	b.Column(1).AppendBytes([]byte("a"))
	b.Column(2).AppendBytes([]byte("old"))
	b.EndRow(batch.Insert, 1, 1, 1)
	first := b.Finish(batch.Position{})
	defer first.Release()
	two := modelSchema("evolving")
	two.Version = 2
	two.Columns[2].Name = "extra" // big is gone
	second := build(two, []change{insert(2, "b"), insert(1<<40, "wide")})
	defer second.Release()
	evolved := false
	c.deliver(t, d, func() error {
		if err := c.Write(d, p1, first); err != nil {
			return err
		}
		p2 := c.plan(t, d, two)
		evolved = evolved || len(p2.Statements) > 0
		return c.Write(d, p2, second)
	})
	if !evolved {
		t.Error("the plan of the new version has no statements")
	}
	c.want(t, fmt.Sprintf(`SELECT id, name, big, extra FROM "%s".evolving ORDER BY id`, c.schema), "1 a old NULL\n2 b NULL big\n1099511627776 wide NULL big")
	again := c.open(`{}`)
	p := c.plan(t, again, two)
	if len(p.Statements) != 0 {
		t.Errorf("a table that is as it should be: %q", p.Statements)
	}
	c.write(t, again, p, two, change{kind: 'U', id: 1, name: text("c"), bigAbsent: true})
	c.commit(t, again)
	c.want(t, p.Read+" ORDER BY id", "1 c NULL\n2 b big\n1099511627776 wide big")
	c.want(t, fmt.Sprintf(`SELECT "version" FROM "%s"."__leat_schemas" WHERE "target" LIKE '%%.evolving'`, c.schema), "2")
}

func (c cases) altersWritten(t *testing.T) {
	for _, config := range []string{`{}`, `{"deletes": "hard"}`} {
		name := fmt.Sprintf("altered_%d", len(config))
		d, one := c.open(config), modelSchema(name)
		c.write(t, d, c.plan(t, d, one), one, insert(1, "a"), insert(2, "b"), insert(3, "c"))
		c.commit(t, d)
		c.deliver(t, d, func() error { return c.alterWritten(t, d, name) })
		read := c.plan(t, d, altered(name, 3, "more")).Read + " ORDER BY id"
		c.want(t, read, "2 z NULL\n3 more more")
		next := c.open(config)
		c.write(t, next, c.plan(t, next, one), one, change{kind: 'U', id: 2, name: text("y"), bigAbsent: true})
		c.commit(t, next)
		c.want(t, read, "2 y NULL\n3 more more")
	}
}

// alterWritten writes a delivery in which a table changes twice after its rows.
func (c cases) alterWritten(t *testing.T, d pdk.Destination, name string) error {
	one := modelSchema(name)
	c.write(t, d, c.plan(t, d, one), one, change{kind: 'D', id: 1}, change{kind: 'U', id: 2, name: text("z"), big: text("big")})
	for version, column := range []string{"extra", "more"} {
		s := altered(name, uint64(version+2), column)
		b := build(s, []change{{kind: 'U', id: 3, name: text(column), big: text(column)}})
		err := c.Write(d, c.plan(t, d, s), b)
		b.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// altered is the model's table with its last column under another name.
func altered(name string, version uint64, column string) *batch.Schema {
	s := modelSchema(name)
	s.Version, s.Columns[2].Name = version, column
	return s
}

func (c cases) becomesText(t *testing.T) {
	d := c.open(`{}`)
	s := modelSchema("narrow")
	s.Columns[1].Type, s.Columns[1].PG = arrow.FixedWidthTypes.Boolean, batch.PGType{Name: "bool", OID: 16, Typmod: -1, Kind: "b"}
	b := batch.NewBuilder(s)
	b.Column(0).AppendUint64(1)
	b.Column(1).AppendBool(true)
	b.Column(2).AppendNull()
	b.EndRow(batch.Insert, 1, 1, 1)
	first := b.Finish(batch.Position{})
	defer first.Release()
	if err := c.Write(d, c.plan(t, d, s), first); err != nil {
		t.Fatal(err)
	}
	c.commit(t, d)
	n := modelSchema("narrow")
	n.Version = 2
	n.Columns[1].Type, n.Columns[1].PG = arrow.PrimitiveTypes.Int32, batch.PGType{Name: "int4", OID: 23, Typmod: -1, Kind: "b"}
	p := c.plan(t, d, n)
	if p.Reload == "" {
		t.Error("boolean to text needs no reload")
	}
	if losses := strings.ToUpper(fmt.Sprint(p.Columns[1].Losses)); !strings.Contains(losses, "ITS TYPE: NO INTEGER HOLDS WHAT IT HAD AS BOOLEAN") {
		t.Errorf("the plan says %s of the column that becomes text", losses)
	}
	b = batch.NewBuilder(n)
	b.Column(0).AppendUint64(2)
	b.Column(1).AppendUint32(7)
	b.Column(2).AppendNull()
	b.EndRow(batch.Insert, 1, 1, 1)
	second := b.Finish(batch.Position{})
	defer second.Release()
	c.deliver(t, d, func() error { return c.Write(d, p, second) })
	c.want(t, p.Read+" ORDER BY id", "1 true NULL\n2 7 NULL")
	if p := c.plan(t, d, s); p.Reload != "" || len(p.Statements) > 0 {
		t.Errorf("text holds a boolean: %q %q", p.Statements, p.Reload)
	}
}

func (c cases) collides(t *testing.T) {
	d := c.open(`{}`)
	s := modelSchema(strings.Repeat("long", 20))
	p := c.plan(t, d, s)
	other := modelSchema(strings.Repeat("long", 20) + "er")
	if q := c.plan(t, d, other); q.Table == p.Table {
		t.Errorf("two long names become %s", p.Table)
	}
	home := modelSchema("home")
	c.plan(t, d, home)
	away := modelSchema("home")
	away.Table.Schema = c.schema
	if c.schema != "public" {
		if q := c.plan(t, d, away); strings.HasPrefix(q.Table, `"`+c.schema+`".`) {
			t.Errorf("a schema called %s lands in that of public", c.schema)
		}
	}
	elsewhere := modelSchema("home")
	elsewhere.Table.Database = "another"
	c.plan(t, d, elsewhere) // the same name of another database is the same target
}

func (c cases) keyless(t *testing.T) {
	d := c.open(`{}`)
	s := modelSchema("keyless")
	s.Columns[0].Key = 0
	p := c.plan(t, d, s)
	for range 2 {
		c.write(t, d, p, s, insert(1, "a"))
	}
	c.commit(t, d)
	c.want(t, p.Read, "1 a big\n1 a big")
}

func (c cases) allKey(t *testing.T) {
	d := c.open(`{"metadata": [], "deletes": "hard"}`)
	s := modelSchema("all_key")
	s.Columns = s.Columns[:1]
	p := c.plan(t, d, s)
	write := func(rows ...int64) { // id, or its negative where the row moves away from it to the next
		t.Helper()
		b := batch.NewBuilder(s)
		for i, id := range rows {
			op := batch.Update
			if id < 0 {
				op, id = batch.OldKey, -id
			}
			b.Column(0).AppendUint64(uint64(id))
			b.EndRow(op, uint64(i), 1, 1)
		}
		changes := b.Finish(batch.Position{})
		defer changes.Release()
		if err := c.Write(d, p, changes); err != nil {
			t.Fatal(err)
		}
	}
	write(1, 2)
	write(2, 3, -1, 4)
	c.commit(t, d)
	c.want(t, p.Read+" ORDER BY id", "2\n3\n4")
}

func (c cases) ignores(t *testing.T) {
	d := c.open(`{"deletes": "ignore"}`)
	s := modelSchema("ignored")
	p := c.plan(t, d, s)
	c.write(t, d, p, s, insert(1, "a"), insert(2, "b"))
	c.write(t, d, p, s, change{kind: 'D', id: 1}, change{kind: 'M', from: 2, id: 3, name: text("c"), bigAbsent: true})
	c.write(t, d, p, s, change{kind: 'T'})
	c.commit(t, d)
	c.want(t, p.Read+" ORDER BY id", "1 a big\n3 c big")
	c.write(t, d, p, s, insert(1, "again"))
	c.commit(t, d)
	c.want(t, p.Read+" ORDER BY id", "1 again big\n3 c big")
	for _, deletes := range []string{"soft", "hard"} {
		d := c.open(fmt.Sprintf(`{"deletes": %q, "truncate": "ignore"}`, deletes))
		s := modelSchema("kept_" + deletes)
		p := c.plan(t, d, s)
		c.write(t, d, p, s, insert(1, "a"))
		c.write(t, d, p, s, change{kind: 'T'})
		c.write(t, d, p, s, insert(1, "again"))
		c.commit(t, d)
		c.want(t, p.Read, "1 again big")
	}
}

// notesLate changes a table that already is what it is to become, as after a
// crash between the change and its note; no row ever comes.
func (c cases) notesLate(t *testing.T) {
	d := c.open(`{}`)
	s := modelSchema("noted_late")
	write := func(s *batch.Schema) {
		empty := batch.NewBuilder(s).Finish(batch.Position{LSN: 1})
		defer empty.Release()
		c.deliver(t, d, func() error { return c.Write(d, c.plan(t, d, s), empty) })
		c.commit(t, d)
	}
	write(s)
	if _, err := c.DB.Exec(t.Context(), fmt.Sprintf(`ALTER TABLE "%s".noted_late ADD COLUMN more text`, c.schema)); err != nil {
		t.Fatal(err)
	}
	wider := modelSchema("noted_late")
	wider.Version = s.Version + 1
	more := wider.Columns[1]
	more.Name = "more"
	wider.Columns = append(wider.Columns, more)
	write(wider)
	c.want(t, fmt.Sprintf(`SELECT "version" FROM "%s"."__leat_schemas" WHERE "target" LIKE '%%noted_late%%'`, c.schema), fmt.Sprint(wider.Version))
}

// comesLate writes rows of a version that the target has left behind, as after a
// crash between a change and its rows, with a column that has been withheld until
// then.
func (c cases) comesLate(t *testing.T) {
	d := c.open(`{}`)
	version := func(number uint64, id int, last string) *batch.Schema {
		s := modelSchema("late")
		s.OID, s.Version, s.Columns[2].Name = 7, number, last
		s.Columns[0].ID, s.Columns[1].ID, s.Columns[2].ID = 1, 2, id
		return s
	}
	second := version(2, 3, "big")
	c.deliver(t, d, func() error { return c.Write(d, c.plan(t, d, second), build(second, []change{insert(2, "b")})) })
	next := c.open(`{}`)
	first := version(1, 4, "claimed")
	c.deliver(t, next, func() error { return c.Write(next, c.plan(t, next, first), build(first, []change{insert(1, "a")})) })
	c.deliver(t, next, func() error { return c.Write(next, c.plan(t, next, second), build(second, []change{insert(3, "c")})) })
	c.want(t, fmt.Sprintf(`SELECT id, name, big, claimed FROM "%s".late ORDER BY id`, c.schema), "1 a NULL big\n2 b big NULL\n3 c big NULL")
	c.want(t, fmt.Sprintf(`SELECT "version" FROM "%s"."__leat_schemas" WHERE "target" LIKE '%%.late'`, c.schema), "2")
	c.want(t, fmt.Sprintf(`SELECT count(*) FROM "%s"."__leat_columns" WHERE "target" LIKE '%%.late' AND "name" = 'claimed'`, c.schema), "1")
}

func (c cases) plansOnly(t *testing.T) {
	d := c.open(`{}`)
	c.Statements = nil
	p := c.plan(t, d, modelSchema("only_planned"))
	if len(p.Statements) != 1 || !strings.Contains(p.Statements[0], "CREATE TABLE") || p.Read == "" {
		t.Errorf("statements %q, read %q", p.Statements, p.Read)
	}
	if found := c.rows(t, `SELECT table_name FROM information_schema.tables WHERE table_name = 'only_planned'`); found != "" {
		t.Error("planning made the table")
	}
}

// loads writes a first load in which two rows have one key, as a transform can
// make them, takes a part back, ends it and merges changes.
func (c cases) loads(t *testing.T) {
	read := func(id int64, name string) change {
		return change{kind: 'R', id: id, name: text(name), big: text("big")}
	}
	for i, ended := range []bool{true, false} {
		d := c.open(`{"deletes": "hard"}`)
		s := modelSchema(fmt.Sprintf("loaded_%d", i))
		p := c.plan(t, d, s)
		c.write(t, d, p, s, read(1, "a"), read(2, "b"))
		c.commit(t, d)
		c.write(t, d, p, s, read(3, "c"))
		if err := d.Rollback(); err != nil {
			t.Fatal(err)
		}
		c.write(t, d, p, s, read(3, "c"), read(4, "d"))
		c.commit(t, d)
		if ended {
			c.write(t, d, p, s)
			if err := d.Rollback(); err != nil {
				t.Fatal(err)
			}
			c.write(t, d, p, s)
			c.commit(t, d)
		} else { // another process goes on
			d = c.open(`{"deletes": "hard"}`)
			p = c.plan(t, d, s)
		}
		c.write(t, d, p, s, change{kind: 'U', id: 1, name: text("z"), bigAbsent: true}, change{kind: 'D', id: 2}, insert(5, "e"))
		c.commit(t, d)
		c.want(t, p.Read+" ORDER BY id", "1 z big\n3 c big\n4 d big\n5 e big")
	}
}
