package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/batch"
)

// testDecoding turns the lines of test_decoding into the messages that
// pgoutput would send, so that both are decoded in one place. A line names the
// table and the types of its columns; the catalogue has the rest. The LSN of a
// transaction comes only with its COMMIT: until then it is spilled, as one that
// pgoutput streams.
type testDecoding struct {
	to        *pgoutput
	published func(schema, name string) *Table
	columns   func(ctx context.Context, t *Table, names, typeNames []string) ([]LoggedColumn, error) // see Source.LoggedColumns
	relations map[[2]string]*textRelation
	xid       uint32
	change    textChange
	message   []byte
}

// textRelation is a table as its lines last described it.
type textRelation struct {
	table   *Table
	columns []LoggedColumn
}

// LoggedColumn is a column of a line with what the catalogue says of it.
type LoggedColumn struct {
	Name, TypeName string
	OID            uint32
	Typmod         int32
	Key            bool // in the replica identity
	Generated      bool // pgoutput leaves it out
}

// LoggedColumns describes columns that a table had when the log was written,
// or those that it has now where names is nil, in the table's order. A type that the column has no
// more is found by its name; text stands for one that is gone.
func (s *Source) LoggedColumns(ctx context.Context, t *Table, names, typeNames []string) ([]LoggedColumn, error) {
	generated, from := "coalesce(a.attgenerated <> '', false)", `unnest($2::text[], $3::text[]) WITH ORDINALITY w(name, type, n)`
	if s.Version < 120000 {
		generated = "false"
	}
	if names == nil {
		from = `(SELECT attname::text, pg_catalog.format_type(atttypid, NULL), attnum FROM pg_catalog.pg_attribute
			WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND $2::text[] IS NULL AND $3::text[] IS NULL) w(name, type, n)`
	}
	sql := fmt.Sprintf(`SELECT w.name, w.type, CASE WHEN k.same THEN a.atttypid ELSE coalesce(pg_catalog.to_regtype(w.type)::oid, 25) END,
			CASE WHEN k.same THEN a.atttypmod ELSE -1 END,
			c.relreplident = 'f' OR EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND a.attnum = ANY(i.indkey::int2[])
				AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END), %s
		FROM %s CROSS JOIN pg_catalog.pg_class c
		LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped
		CROSS JOIN LATERAL (SELECT coalesce(pg_catalog.format_type(a.atttypid, NULL) = w.type, false) AS same) k
		WHERE c.oid = $1 ORDER BY CASE WHEN bool_and(a.attnum IS NOT NULL) OVER () THEN a.attnum ELSE w.n END`, generated, from)
	var out []LoggedColumn
	err := s.do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, sql, t.OID, names, typeNames)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[LoggedColumn])
		return err
	})
	if err == nil && len(out) == 0 { // the table was dropped: its lines are all there is
		for i := range names {
			out = append(out, LoggedColumn{Name: names[i], TypeName: typeNames[i], OID: 25, Typmod: -1})
		}
	}
	return out, wrap("read columns of", t.ID().String(), err)
}

// decode takes a line whose place in the log is lsn.
func (d *testDecoding) decode(ctx context.Context, lsn uint64, line []byte) error {
	switch {
	case bytes.HasPrefix(line, []byte("table ")):
		if err := d.change.parse(line); err != nil {
			return fmt.Errorf("decode log line of transaction %d: %w", d.xid, err)
		}
		return d.changed(ctx)
	case bytes.HasPrefix(line, []byte("BEGIN ")):
		xid, err := strconv.ParseUint(string(line[6:]), 10, 32)
		if err != nil {
			return fmt.Errorf("decode log line BEGIN: %w", errTextLine)
		}
		d.xid = uint32(xid)
		return d.send(ctx, append(binary.BigEndian.AppendUint32([]byte{'S'}, d.xid), 1))
	case bytes.HasPrefix(line, []byte("COMMIT ")):
		return d.committed(ctx, lsn, line)
	case bytes.HasPrefix(line, []byte("message: ")):
		return nil
	}
	return fmt.Errorf("decode log: %w", errTextLine)
}

// committed ends a transaction. Its position is the end of its commit record:
// the start is not said.
func (d *testDecoding) committed(ctx context.Context, lsn uint64, line []byte) error {
	_, at, _ := bytes.Cut(line, []byte("(at "))
	when, err := time.Parse("2006-01-02 15:04:05.999999-07)", string(at))
	if err != nil {
		return fmt.Errorf("decode log line COMMIT: %w", errTextLine)
	}
	if err := d.send(ctx, []byte{'E'}); err != nil {
		return err
	}
	m := append(binary.BigEndian.AppendUint32([]byte{'c'}, d.xid), 0)
	for _, n := range []uint64{lsn, lsn, uint64(when.UnixMicro() - epochMicros)} {
		m = binary.BigEndian.AppendUint64(m, n)
	}
	return d.send(ctx, m)
}

func (d *testDecoding) send(ctx context.Context, message []byte) error {
	_, err := d.to.decode(ctx, message)
	return err
}

// changed passes on the change that was parsed, if it is of a table that is
// replicated. Tables whose rows the log does not identify are published for
// inserts and truncates only.
func (d *testDecoding) changed(ctx context.Context) error {
	c := &d.change
	if c.kind == 'T' {
		return d.truncated(ctx)
	}
	table := d.published(c.tables[0][0], c.tables[0][1])
	if table == nil || table.Keyless && c.kind != 'I' {
		return nil
	}
	rel, err := d.described(ctx, c.tables[0], table)
	if err != nil {
		return err
	}
	m := d.begin(c.kind)
	m = binary.BigEndian.AppendUint32(m, table.OID)
	if c.hasOld {
		if table.Identity == IdentityFull {
			m = append(m, 'O')
		} else {
			m = append(m, 'K')
		}
		m = rel.appendTuple(m, c.old)
	}
	if c.kind != 'D' {
		m = rel.appendTuple(append(m, 'N'), c.row)
	} else if !c.hasOld {
		return fmt.Errorf("decode log: delete without a row of %s: %w", table.ID(), errTextLine)
	}
	d.message = m
	return d.send(ctx, m)
}

// begin starts a message inside the stream.
func (d *testDecoding) begin(kind byte) []byte {
	return binary.BigEndian.AppendUint32(append(d.message[:0], kind), d.xid)
}

func (d *testDecoding) truncated(ctx context.Context) error {
	var oids []uint32
	for _, name := range d.change.tables {
		table := d.published(name[0], name[1])
		if table == nil {
			continue
		}
		if d.relations[name] == nil {
			if err := d.describe(ctx, name, table, nil, nil); err != nil {
				return err
			}
		}
		if !slices.Contains(oids, table.OID) {
			oids = append(oids, table.OID)
		}
	}
	if len(oids) == 0 {
		return nil
	}
	m := append(binary.BigEndian.AppendUint32(d.begin('T'), uint32(len(oids))), 0)
	for _, oid := range oids {
		m = binary.BigEndian.AppendUint32(m, oid)
	}
	d.message = m
	return d.send(ctx, m)
}

// described returns the relation of the change that was parsed, after its
// Relation message where it is not what it was.
func (d *testDecoding) described(ctx context.Context, name [2]string, table *Table) (*textRelation, error) {
	line := d.change.row
	rel := d.relations[name]
	known := rel != nil && rel.table == table && rel.has(d.change.old)
	if d.change.kind == 'D' { // it has only what is not null
		if !known {
			if err := d.describe(ctx, name, table, nil, nil); err != nil {
				return nil, err
			}
		}
		return d.relations[name], nil
	}
	if known && len(rel.columns) == len(line) && rel.has(line) {
		return rel, nil
	}
	names, typeNames := make([]string, len(line)), make([]string, len(line))
	for i, c := range line {
		names[i], typeNames[i] = string(c.name), string(c.typeName)
	}
	if err := d.describe(ctx, name, table, names, typeNames); err != nil {
		return nil, err
	}
	return d.relations[name], nil
}

// has says whether columns are some of the relation's.
func (rel *textRelation) has(columns []textColumn) bool {
	at := 0
	for _, c := range columns {
		for at < len(rel.columns) && rel.columns[at].Name != string(c.name) {
			at++
		}
		if at == len(rel.columns) { // a partition may have another order
			at = slices.IndexFunc(rel.columns, func(k LoggedColumn) bool { return k.Name == string(c.name) })
		}
		if at < 0 || rel.columns[at].TypeName != string(c.typeName) {
			return false
		}
		at++
	}
	return true
}

// describe sends the Relation message of a table with these columns.
func (d *testDecoding) describe(ctx context.Context, name [2]string, table *Table, names, typeNames []string) error {
	columns, err := d.columns(ctx, table, names, typeNames)
	if err != nil {
		return err
	}
	d.relations[name] = &textRelation{table, columns}
	id := table.ID()
	identity := map[ReplicaIdentity]byte{IdentityDefault: 'd', IdentityIndex: 'i', IdentityFull: 'f', IdentityNothing: 'n'}[table.Identity]
	m := binary.BigEndian.AppendUint32(d.begin('R'), table.OID)
	m = append(append(append(append(m, id.Schema...), 0), id.Name...), 0, identity)
	count := 0
	for _, c := range columns {
		if !c.Generated {
			count++
		}
	}
	m = binary.BigEndian.AppendUint16(m, uint16(count))
	for _, c := range columns {
		if c.Generated {
			continue
		}
		key := byte(0)
		if c.Key {
			key = 1
		}
		m = append(append(append(m, key), c.Name...), 0)
		m = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(m, c.OID), uint32(c.Typmod))
	}
	d.message = m
	return d.send(ctx, m)
}

// appendTuple writes the columns of a line as a tuple; those that the line
// leaves out are null.
func (rel *textRelation) appendTuple(m []byte, columns []textColumn) []byte {
	count := len(m)
	m = append(m, 0, 0)
	n, at := uint16(0), 0
	for _, c := range rel.columns {
		found := at
		if at >= len(columns) || string(columns[at].name) != c.Name { // a partition may have another order
			found = slices.IndexFunc(columns, func(t textColumn) bool { return string(t.name) == c.Name })
		}
		at = max(at, found+1)
		if c.Generated {
			continue
		}
		n++
		if found < 0 {
			m = append(m, cellNull)
			continue
		}
		cell := columns[found]
		m = append(m, cell.tag)
		if cell.tag == cellText {
			m = append(binary.BigEndian.AppendUint32(m, uint32(len(cell.value))), cell.value...)
		}
	}
	binary.BigEndian.PutUint16(m[count:], n)
	return m
}

// tablesByLeaf finds tables by the names under which test_decoding knows
// them: their own, or those of the partitions that hold their rows.
func tablesByLeaf(tables []*Table) func(schema, name string) *Table {
	byName := map[batch.TableID]*Table{}
	for _, t := range tables {
		byName[batch.TableID{Schema: t.ID().Schema, Name: t.ID().Name}] = t
		for _, leaf := range t.Leaves {
			byName[batch.TableID{Schema: leaf.Schema, Name: leaf.Name}] = t
		}
	}
	return func(schema, name string) *Table { return byName[batch.TableID{Schema: schema, Name: name}] }
}
