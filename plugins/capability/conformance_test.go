package capability

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/engine/batch"
)

// dialect is what the conformance suite has to know of a driver.
type dialect struct {
	name string
	// types are the SQL types of everyColumn, in order.
	types []string
}

// check is one promise of the SQL interface; nil says that a driver keeps it.
type check struct {
	name string
	run  func(ctx context.Context, db SQL, d dialect) error
}

var conformance = []check{
	{"exec and query", checkExecAndQuery},
	{"every type comes back", checkEveryType},
	{"every type as text", checkEveryTypeAsText},
	{"narrow numbers in wide columns", checkWider},
	{"only the operations asked for", checkOps},
	{"pseudo columns", checkPseudoColumns},
	{"a temporary table is made anew", checkTemporary},
	{"rollback leaves nothing", checkRollback},
	{"a failed ingest leaves nothing", checkFailedIngest},
	{"errors have their class", checkClasses},
	{"a million rows", checkMillion},
	{"large rows", checkLargeRows},
}

// failures runs the suite and says what a driver does not keep.
func failures(ctx context.Context, db SQL, d dialect) []string {
	var out []string
	for _, c := range conformance {
		if err := c.run(ctx, db, d); err != nil {
			out = append(out, fmt.Sprintf("%s: %v", c.name, err))
		}
		if err := db.Rollback(ctx); err != nil {
			out = append(out, fmt.Sprintf("rollback after %s: %v", c.name, err))
		}
	}
	return out
}

func columnsOf(s *batch.Schema, types []string) []IngestColumn {
	out := make([]IngestColumn, len(s.Columns))
	for i, c := range s.Columns {
		out[i] = IngestColumn{Name: c.Name, Type: types[i], From: FromColumn, Column: i}
	}
	return out
}

func create(ctx context.Context, db SQL, table string, columns []IngestColumn) error {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = quoteName(c.Name) + " " + c.Type
	}
	_, err := db.Exec(ctx, fmt.Sprintf("DROP TABLE IF EXISTS %s; CREATE TABLE %s (%s)", table, table, strings.Join(list, ", ")))
	return err
}

// cells is a result or a batch as text, row by row.
func cells(columns []arrow.Array) ([][]string, error) {
	var out [][]string
	for _, a := range columns {
		text, err := batch.TextOf(a)
		if err != nil {
			return nil, err
		}
		for r := range a.Len() {
			if len(out) <= r {
				out = append(out, nil)
			}
			cell := "NULL!"
			if a.IsValid(r) {
				cell = string(text(nil, r))
			}
			out[r] = append(out[r], cell)
		}
	}
	return out, nil
}

func readCells(ctx context.Context, db SQL, sql string) ([][]string, error) {
	var out [][]string
	err := db.Read(ctx, sql, func(r arrow.RecordBatch) error {
		part, err := cells(r.Columns())
		out = append(out, part...)
		return err
	})
	return out, err
}

func sameCells(got, want [][]string) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d rows, want %d", len(got), len(want))
	}
	for r := range want {
		for c := range want[r] {
			if got[r][c] != want[r][c] {
				return fmt.Errorf("row %d column %d: %q, want %q", r, c, got[r][c], want[r][c])
			}
		}
	}
	return nil
}

func checkExecAndQuery(ctx context.Context, db SQL, _ dialect) error {
	if _, err := db.Exec(ctx, "DROP TABLE IF EXISTS eq; CREATE TABLE eq (a integer, b varchar)"); err != nil {
		return err
	}
	n, err := db.Exec(ctx, "INSERT INTO eq VALUES (1, 'x'); INSERT INTO eq VALUES (2, NULL), (3, '')")
	if err != nil || n != 2 {
		return fmt.Errorf("%d rows affected (%v), want 2 of the last statement", n, err)
	}
	rows, err := db.Query(ctx, "SELECT a, b FROM eq ORDER BY a")
	if err != nil {
		return err
	}
	if len(rows.Rows) != 3 || len(rows.Columns) != 2 || rows.Columns[1] != "b" {
		return fmt.Errorf("columns %v, %d rows", rows.Columns, len(rows.Rows))
	}
	if *rows.Rows[0][0] != "1" || *rows.Rows[0][1] != "x" || rows.Rows[1][1] != nil || rows.Rows[2][1] == nil {
		return errors.New("values, null or empty text are not as they were inserted")
	}
	if _, err := db.Query(ctx, fmt.Sprintf("SELECT * FROM generate_series(1, %d)", MaxQueryRows+1)); err == nil {
		return errors.New("a result beyond MaxQueryRows is not refused")
	}
	if _, err := db.Query(ctx, fmt.Sprintf("SELECT repeat('x', %d) FROM generate_series(1, 70)", 1<<20)); err == nil || !strings.Contains(err.Error(), fmt.Sprint(MaxQueryBytes)) {
		return fmt.Errorf("a result beyond MaxQueryBytes: %v", err)
	}
	return nil
}

func checkEveryType(ctx context.Context, db SQL, d dialect) error {
	b := everyRow()
	defer b.Release()
	in := Ingest{Table: "every", Columns: columnsOf(b.Schema, d.types)}
	if err := create(ctx, db, in.Table, in.Columns); err != nil {
		return err
	}
	if n, err := db.Ingest(ctx, b, in); err != nil || n != int64(b.Len()) {
		return fmt.Errorf("%d rows: %w", n, err)
	}
	want, err := cells(b.Rows.Columns())
	if err != nil {
		return err
	}
	got, err := readCells(ctx, db, "SELECT * FROM every")
	if err != nil {
		return err
	}
	return sameCells(got, want)
}

// checkEveryTypeAsText lands every column in a text column: the way of types
// that a destination has not.
func checkEveryTypeAsText(ctx context.Context, db SQL, d dialect) error {
	b := everyRow()
	defer b.Release()
	types := make([]string, len(d.types))
	for i := range types {
		types[i] = "varchar"
	}
	in := Ingest{Table: `"every text"`, Columns: columnsOf(b.Schema, types)}
	if err := create(ctx, db, in.Table, in.Columns); err != nil {
		return err
	}
	if _, err := db.Ingest(ctx, b, in); err != nil {
		return err
	}
	want, err := cells(b.Rows.Columns())
	if err != nil {
		return err
	}
	got, err := readCells(ctx, db, `SELECT * FROM "every text"`)
	if err != nil {
		return err
	}
	return sameCells(got, want)
}

// checkWider lands numbers in columns that were widened for another source.
func checkWider(ctx context.Context, db SQL, _ dialect) error {
	b := everyRow()
	defer b.Release()
	in := Ingest{Table: "wider"}
	for i, column := range []int{1, 1, 2, 5} {
		in.Columns = append(in.Columns, IngestColumn{Name: fmt.Sprintf("c%d", i), From: FromColumn, Column: column, Type: []string{"integer", "bigint", "bigint", "double precision"}[i]})
	}
	if err := create(ctx, db, in.Table, in.Columns); err != nil {
		return err
	}
	if _, err := db.Ingest(ctx, b, in); err != nil {
		return err
	}
	small, integer, float := b.Rows.Column(1).(*array.Int16), b.Rows.Column(2).(*array.Int32), b.Rows.Column(5).(*array.Float32)
	row := 0
	return db.Read(ctx, "SELECT * FROM wider", func(r arrow.RecordBatch) error {
		for i := range int(r.NumRows()) {
			got := []float64{float64(r.Column(0).(*array.Int32).Value(i)), float64(r.Column(1).(*array.Int64).Value(i)), float64(r.Column(2).(*array.Int64).Value(i)), r.Column(3).(*array.Float64).Value(i)}
			want := []float64{float64(small.Value(row)), float64(small.Value(row)), float64(integer.Value(row)), float64(float.Value(row))}
			for c := range want {
				if small.IsValid(row) && got[c] != want[c] && !math.IsNaN(want[c]) {
					return fmt.Errorf("row %d column %d: %v, want %v", row, c, got[c], want[c])
				}
			}
			row++
		}
		return nil
	})
}

// changes is a batch of (id, note) with every operation and absent cells.
func changes() *batch.Batch {
	s := &batch.Schema{Table: batch.TableID{Database: "d", Schema: "public", Name: "changes"}, Columns: []batch.Column{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Key: 1, PG: batch.PGType{Typmod: -1}},
		{Name: "note", Type: arrow.BinaryTypes.String, Nullable: true, PG: batch.PGType{Typmod: -1}},
	}}
	b := batch.NewBuilder(s)
	for i, op := range []batch.Op{batch.Insert, batch.OldKey, batch.Update, batch.Delete, batch.Read} {
		b.Column(0).AppendUint64(uint64(i))
		switch op {
		case batch.OldKey, batch.Delete:
			b.Column(1).AppendAbsent()
		default:
			b.Column(1).AppendBytes([]byte("note"))
		}
		b.EndRow(op, 1<<40+uint64(i), uint64(i)+7, 1_700_000_000_000_000+int64(i))
	}
	return b.Finish(batch.Position{})
}

func checkOps(ctx context.Context, db SQL, _ dialect) error {
	b := changes()
	defer b.Release()
	columns := []IngestColumn{{Name: "id", Type: "bigint", From: FromColumn}, {Name: "op", Type: "varchar", From: FromOp}}
	for _, c := range []struct{ ops, want string }{{"", "IKUDR"}, {"IUR", "IUR"}, {"KD", "KD"}, {"T", ""}} {
		if err := create(ctx, db, "ops", columns); err != nil {
			return err
		}
		n, err := db.Ingest(ctx, b, Ingest{Table: "ops", Columns: columns, Ops: c.ops})
		if err != nil || n != int64(len(c.want)) {
			return fmt.Errorf("ops %q: %d rows (%v), want %d", c.ops, n, err, len(c.want))
		}
		rows, err := readCells(ctx, db, "SELECT op FROM ops ORDER BY id")
		if err != nil {
			return err
		}
		got := ""
		for _, r := range rows {
			got += r[0]
		}
		if got != c.want {
			return fmt.Errorf("ops %q: %q, want %q", c.ops, got, c.want)
		}
	}
	return nil
}

func checkPseudoColumns(ctx context.Context, db SQL, _ dialect) error {
	b := changes()
	defer b.Release()
	value := "it's"
	columns := []IngestColumn{
		{Name: "op", Type: "varchar", From: FromOp}, {Name: "lsn", Type: "bigint", From: FromLSN},
		{Name: "ordinal", Type: "bigint", From: FromOrdinal}, {Name: "at", Type: "timestamp with time zone", From: FromCommitTime},
		{Name: "row", Type: "bigint", From: FromRow}, {Name: "absent", Type: "boolean", From: FromAbsent, Column: 1},
		{Name: "present", Type: "boolean", From: FromAbsent}, {Name: "value", Type: "varchar", From: FromConstant, Value: &value},
		{Name: "nothing", Type: "integer", From: FromConstant},
	}
	var want [][]string
	for i, op := range "IKUDR" {
		gone := map[bool]string{true: "t", false: "f"}[op == 'K' || op == 'D']
		want = append(want, []string{string(op), fmt.Sprint(1<<40 + i), fmt.Sprint(i + 7),
			fmt.Sprintf("2023-11-14 22:13:20%s+00", strings.TrimSuffix(fmt.Sprintf(".%06d", i), ".000000")), fmt.Sprint(i), gone, "f", value, "NULL!"})
	}
	for _, extra := range []string{"", "integer"} { // with a type that forces the text format of PostgreSQL's COPY
		if extra != "" {
			one := "1"
			columns = append(columns, IngestColumn{Name: "one", Type: extra, From: FromConstant, Value: &one})
		}
		if err := create(ctx, db, "pseudo", columns); err != nil {
			return err
		}
		if _, err := db.Ingest(ctx, b, Ingest{Table: "pseudo", Columns: columns}); err != nil {
			return err
		}
		got, err := readCells(ctx, db, `SELECT * FROM pseudo ORDER BY "row"`)
		if err != nil {
			return err
		}
		if err := sameCells(got, want); err != nil {
			return err
		}
	}
	return nil
}

func checkTemporary(ctx context.Context, db SQL, _ dialect) error {
	b := changes()
	defer b.Release()
	shapes := [][]IngestColumn{
		{{Name: "id", Type: "bigint", From: FromColumn}},
		{{Name: "id", Type: "bigint", From: FromColumn}},
		{{Name: "id", Type: "bigint", From: FromColumn}, {Name: "op", Type: "varchar", From: FromOp}},
	}
	for i, columns := range shapes {
		if err := db.Begin(ctx); err != nil {
			return err
		}
		if _, err := db.Ingest(ctx, b, Ingest{Table: `"the stage"`, Temporary: true, Columns: columns}); err != nil {
			return fmt.Errorf("shape %d: %w", i, err)
		}
		rows, err := db.Query(ctx, `SELECT * FROM "the stage"`)
		if err != nil {
			return err
		}
		if len(rows.Rows) != b.Len() || len(rows.Columns) != len(columns) {
			return fmt.Errorf("shape %d: %d rows of %d columns", i, len(rows.Rows), len(rows.Columns))
		}
		end := db.Commit
		if i == 1 {
			end = db.Rollback
		}
		if err := end(ctx); err != nil {
			return err
		}
	}
	return nil
}

func count(ctx context.Context, db SQL, table string) (string, error) {
	rows, err := db.Query(ctx, "SELECT count(*) FROM "+table)
	if err != nil {
		return "", err
	}
	return *rows.Rows[0][0], nil
}

func checkRollback(ctx context.Context, db SQL, _ dialect) error {
	b := changes()
	defer b.Release()
	columns := []IngestColumn{{Name: "id", Type: "bigint", From: FromColumn}}
	if err := create(ctx, db, "undone", columns); err != nil {
		return err
	}
	if err := db.Begin(ctx); err != nil {
		return err
	}
	if err := db.Begin(ctx); err == nil {
		return errors.New("a transaction inside a transaction is not refused")
	}
	if _, err := db.Ingest(ctx, b, Ingest{Table: "undone", Columns: columns}); err != nil {
		return err
	}
	if _, err := db.Exec(ctx, "CREATE TABLE undone_too (a integer)"); err != nil {
		return err
	}
	if err := db.Rollback(ctx); err != nil {
		return err
	}
	if n, err := count(ctx, db, "undone"); err != nil || n != "0" {
		return fmt.Errorf("%s rows are left (%v)", n, err)
	}
	if _, err := db.Exec(ctx, "DROP TABLE undone_too"); err == nil {
		return errors.New("a table is left")
	}
	return db.Rollback(ctx)
}

func checkFailedIngest(ctx context.Context, db SQL, _ dialect) error {
	b := changes()
	defer b.Release()
	columns := []IngestColumn{{Name: "id", Type: "bigint", From: FromColumn}}
	if _, err := db.Exec(ctx, "DROP TABLE IF EXISTS few; CREATE TABLE few (id bigint CHECK (id < 3))"); err != nil {
		return err
	}
	if _, err := db.Ingest(ctx, b, Ingest{Table: "few", Columns: columns}); classOf(err) != Data {
		return fmt.Errorf("a violated constraint: %v", err)
	}
	if err := db.Rollback(ctx); err != nil {
		return err
	}
	if n, err := count(ctx, db, "few"); err != nil || n != "0" {
		return fmt.Errorf("%s rows are left (%v)", n, err)
	}
	return nil
}

func classOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return ""
}

func checkClasses(ctx context.Context, db SQL, _ dialect) error {
	b := changes()
	defer b.Release()
	exec := func(sql string) error { _, err := db.Exec(ctx, sql); return err }
	query := func(sql string) error { _, err := db.Query(ctx, sql); return err }
	ingest := func(c IngestColumn) error {
		_, err := db.Ingest(ctx, b, Ingest{Table: "classes", Columns: []IngestColumn{c}})
		return err
	}
	if err := exec("DROP TABLE IF EXISTS classes; CREATE TABLE classes (id bigint)"); err != nil {
		return err
	}
	for _, c := range []struct {
		name string
		err  error
		want Class
	}{
		{"no such table", exec("INSERT INTO no_such_table VALUES (1)"), Schema},
		{"no such column", query("SELECT nope FROM classes"), Schema},
		{"syntax", exec("SELEC 1"), Schema},
		{"table exists", exec("CREATE TABLE classes (id bigint)"), Schema},
		{"bad value", exec("INSERT INTO classes SELECT CAST('x' AS integer)"), Data},
		{"no such batch column", ingest(IngestColumn{Name: "id", Type: "bigint", From: FromColumn, Column: 9}), Schema},
		{"unknown source", ingest(IngestColumn{Name: "id", Type: "bigint", From: "moon"}), Schema},
		{"ingest without a table", func() error {
			_, err := db.Ingest(ctx, b, Ingest{Table: "no_such_table", Columns: []IngestColumn{{Name: "id", Type: "bigint", From: FromColumn}}})
			return err
		}(), Schema},
	} {
		if classOf(c.err) != c.want {
			return fmt.Errorf("%s: %v, want class %s", c.name, c.err, c.want)
		}
	}
	return nil
}

// account is the shape of the row that rates are measured with.
func account() *batch.Schema {
	return &batch.Schema{Table: batch.TableID{Database: "d", Schema: "public", Name: "accounts"}, Columns: []batch.Column{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Key: 1, PG: batch.PGType{Typmod: -1}},
		{Name: "branch", Type: arrow.PrimitiveTypes.Int32, PG: batch.PGType{Typmod: -1}},
		{Name: "balance", Type: decimalType(12, 2), Nullable: true, PG: batch.PGType{Typmod: -1}},
		{Name: "at", Type: arrow.FixedWidthTypes.Timestamp_us, PG: batch.PGType{Typmod: -1}},
		{Name: "filler", Type: arrow.BinaryTypes.String, PG: batch.PGType{Typmod: -1}},
	}}
}

var accountTypes = []string{"bigint", "integer", "numeric(12,2)", "timestamp with time zone", "varchar"}

func accounts(first, n int) *batch.Batch {
	b := batch.NewBuilder(account())
	filler := []byte(strings.Repeat("x", 40))
	var amount [16]byte
	for i := first; i < first+n; i++ {
		b.Column(0).AppendUint64(uint64(i))
		b.Column(1).AppendUint32(uint32(i % 100))
		if i%10 == 0 {
			b.Column(2).AppendNull()
		} else {
			binary.LittleEndian.PutUint64(amount[:], uint64(i))
			b.Column(2).AppendFixed(amount[:])
		}
		b.Column(3).AppendUint64(uint64(1_700_000_000_000_000 + i))
		b.Column(4).AppendBytes(filler)
		b.EndRow(batch.Insert, uint64(i), 1, 0)
	}
	return b.Finish(batch.Position{})
}

func checkMillion(ctx context.Context, db SQL, _ dialect) error {
	const batches, rows = 10, 100_000
	columns := columnsOf(account(), accountTypes)
	if err := create(ctx, db, "accounts", columns); err != nil {
		return err
	}
	if err := db.Begin(ctx); err != nil {
		return err
	}
	for i := range batches {
		b := accounts(i*rows, rows)
		_, err := db.Ingest(ctx, b, Ingest{Table: "accounts", Columns: columns})
		b.Release()
		if err != nil {
			return err
		}
	}
	if err := db.Commit(ctx); err != nil {
		return err
	}
	found, err := db.Query(ctx, "SELECT count(*), sum(id), count(balance), sum(balance) FROM accounts")
	if err != nil {
		return err
	}
	const all = batches * rows
	for i, want := range []string{fmt.Sprint(all), fmt.Sprint(all * (all - 1) / 2), fmt.Sprint(all * 9 / 10), "4500000000.00"} {
		if got := *found.Rows[0][i]; got != want {
			return fmt.Errorf("aggregate %d: %s, want %s", i, got, want)
		}
	}
	for want, limit := range map[int64]string{all: "", 1: "LIMIT 1", 0: "LIMIT 0"} {
		n, empty := int64(0), 0
		err = db.Read(ctx, "SELECT * FROM accounts "+limit, func(r arrow.RecordBatch) error {
			if n += r.NumRows(); r.NumRows() == 0 {
				empty++
			}
			return nil
		})
		if err == nil && (n != want || (empty > 0) != (want == 0)) {
			err = fmt.Errorf("read %d rows of %d, and %d records without any", n, want, empty)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkLargeRows reads text that would not fit memory in records of as many rows
// as others have.
func checkLargeRows(ctx context.Context, db SQL, _ dialect) error {
	const rows, length = 4000, 100_000
	n, largest := int64(0), int64(0)
	err := db.Read(ctx, fmt.Sprintf("SELECT i::bigint, repeat('x', %d) FROM generate_series(1, %d) AS s(i)", length, rows), func(r arrow.RecordBatch) error {
		for i, v := range r.Column(0).(*array.Int64).Int64Values() {
			if n++; v != n || len(r.Column(1).(*array.String).Value(i)) != length {
				return fmt.Errorf("row %d is %d, with %d bytes", n, v, len(r.Column(1).(*array.String).Value(i)))
			}
		}
		largest = max(largest, recordSize(r))
		return nil
	})
	if err == nil && (n != rows || largest > 2*readBytes) {
		err = fmt.Errorf("%d rows, the largest record has %d bytes", n, largest)
	}
	return err
}
