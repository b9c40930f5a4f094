package relational

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	pdk "github.com/leat-etl/leat/pdk/go"
)

var update = flag.Bool("update", false, "write the golden file anew")

// recorder is a host without a database: it writes down what it is asked.
type recorder struct{ lines []string }

func (r *recorder) Log(pdk.Level, string) {}

func (r *recorder) Call(function string, request []byte) []byte {
	var q struct {
		SQL    string          `json:"sql"`
		Ingest pdk.IngestInput `json:"ingest"`
	}
	if err := json.Unmarshal(request, &q); err != nil {
		panic(err)
	}
	line := strings.TrimPrefix(function, "sql_") + " " + q.SQL
	if q.Ingest.Table != "" {
		var columns []string
		for _, c := range q.Ingest.Columns {
			columns = append(columns, fmt.Sprintf("%s %s from %s %d", c.Name, c.Type, c.From, c.Column))
		}
		line = fmt.Sprintf("ingest %q into %s temporary=%v (%s)", q.Ingest.Ops, q.Ingest.Table, q.Ingest.Temporary, strings.Join(columns, ", "))
	}
	if function != "sql_query" {
		r.lines = append(r.lines, line)
		return []byte(`{"ok": {}}`)
	}
	return []byte(`{"ok": {"columns": [], "rows": []}}`)
}

// plain is a dialect of the kind that deletes and inserts; keyed one that
// replaces on conflict.
func plain() *Dialect {
	return &Dialect{Driver: "plain", RowID: "rowid", RowIDType: "BIGINT", RowIDHidden: true,
		WholeRow:   func(cells []string) string { return "row(" + strings.Join(cells, ", ") + ")" },
		MainSchema: "main", Text: "VARCHAR", Timestamp: "TIMESTAMPTZ", Boolean: "BOOLEAN",
		Type:    func(c pdk.Column) Mapping { return Mapping{Type: "INTEGER"} },
		Widens:  func(from, to string) bool { return false },
		Names:   "names",
		Columns: func(schema, table string) string { return "columns of " + schema + "." + table }}
}

func keyed() *Dialect {
	d := plain()
	d.PhysicalKey, d.NowDefault, d.StageSchema = true, true, "pg_temp"
	d.Key = func(schema, table, prefix string) string { return "key of " + schema + "." + table }
	d.RowID, d.RowIDType = "ctid", "tid"
	return d
}

// TestStatements holds the statements for every kind of batch against
// testdata/statements.golden.
func TestStatements(t *testing.T) {
	schema := &pdk.Schema{Table: pdk.TableID{Database: "shop", Schema: "public", Name: `odd "name"`}, Version: 1, Columns: []pdk.Column{
		{Name: "id", Format: "i", Key: 1}, {Name: "part", Format: "i", Key: 2, Nullable: false}, {Name: "big", Format: "u", Nullable: true},
	}}
	batches := []pdk.WriteBatch{
		{Ops: map[string]int{"R": 1}},
		{Ops: map[string]int{"I": 1}},
		{Ops: map[string]int{"R": 1}},
		{Ops: map[string]int{"I": 1, "U": 1, "D": 1}},
		{Ops: map[string]int{"K": 1, "U": 1, "D": 1}, Absent: []int{2}},
		{Ops: map[string]int{"T": 1}},
	}
	var out strings.Builder
	for _, dialect := range []func() *Dialect{plain, keyed} {
		for _, c := range []struct {
			Config
			nullable bool // the second column of the key
		}{{}, {Config: Config{Deletes: hard}}, {Config: Config{Deletes: ignore}}, {Config: Config{LoadMode: appended}}, {nullable: true}} {
			h := &recorder{}
			pdk.SetHost(h)
			schema.Columns[1].Nullable = c.nullable
			d, err := Open(dialect(), "shop", c.Config)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "# physical key %v, nullable %v, %s, deletes %s, truncate %s\n", d.dialect.PhysicalKey, c.nullable, d.config.LoadMode, d.config.Deletes, d.config.Truncate)
			p, err := d.Plan(schema)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "plan %s\nread %s\n", strings.Join(p.Statements, "; "), p.Read)
			p.State.(*table).ready, p.State.(*table).seen = committed, 0
			for _, b := range batches {
				h.lines = nil
				for _, n := range b.Ops {
					b.Rows += n
				}
				if err := d.Write(p, &b); err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&out, "write %v absent %v\n", b.Ops, b.Absent)
				for _, line := range h.lines {
					fmt.Fprintf(&out, "  %s\n", strings.TrimSpace(line))
				}
			}
			out.WriteString("\n")
		}
	}
	const file = "testdata/statements.golden"
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("the statements have changed; look at them and run go test -update:\n%s", out.String())
	}
}

func TestName(t *testing.T) {
	long := strings.Repeat("ü", 40)
	if got := Name(long); len(got) > maxName || got == Name(long+"x") || !strings.HasPrefix(long, got[:10]) || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("%q", got)
	}
	if got := Name("short"); got != "short" {
		t.Errorf("%q", got)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{LoadMode: "keep"}, {Metadata: []string{"colour"}}, {Deletes: "no"}, {Truncate: "drop"}, {Deletes: hard, Truncate: mark}} {
		if err := c.complete(plain()); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}
