package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	pdk "github.com/leat-etl/leat/pdk/go"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/destinations/internal/desttest"
	"github.com/leat-etl/leat/plugins/destinations/internal/relational"
)

func TestMain(m *testing.M) { os.Exit(pgserver.Main(m)) }

func openDB(t testing.TB) capability.SQL {
	t.Helper()
	server := pgserver.Test(t, pgserver.Options{})
	db, err := capability.OpenPostgres(t.Context(), capability.PostgresOptions{
		Host: server.Host(), Port: server.Port(), User: server.User(), Password: server.Password(),
		Database: server.Database(t), TLSMode: "disable",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// opener opens the destination with a configuration.
func opener(t testing.TB) func(string) pdk.Destination {
	return func(config string) pdk.Destination {
		d := &destination{}
		if _, err := d.Open(&pdk.OpenInput{Pipeline: "shop", RawConfig: json.RawMessage(config)}); err != nil {
			t.Fatal(err)
		}
		return d
	}
}

func TestRandomChanges(t *testing.T) {
	h := desttest.NewHost(t.Context(), openDB(t))
	desttest.Random(t, h, opener(t), "public", 15)
}

func TestRandomChangesWithoutAKey(t *testing.T) {
	h := desttest.NewHost(t.Context(), openDB(t))
	desttest.RandomKeyless(t, h, opener(t), "public", 8)
}

func TestRandomHistory(t *testing.T) {
	h := desttest.NewHost(t.Context(), openDB(t))
	desttest.RandomHistory(t, h, opener(t), "public", 10)
}

func TestCases(t *testing.T) {
	h := desttest.NewHost(t.Context(), openDB(t))
	desttest.Cases(t, h, opener(t), "public")
}

func TestSandboxed(t *testing.T) { desttest.Sandboxed(t, openDB(t)) }

func TestMapping(t *testing.T) {
	for _, c := range []struct {
		format, pg, kind string
		typmod           int32
		want             string
	}{
		{"l", "int8", "b", -1, "bigint"},
		{"l", "bigint", "b", -1, "bigint"},
		{"u", "varchar", "b", 14, "character varying(10)"},
		{"u", "bpchar", "b", 14, "character(10)"},
		{"u", "bpchar", "b", -1, "bpchar"},
		{"d:12,2", "numeric", "b", 786438, "numeric(12,2)"},
		{"u", "numeric", "b", -1, "numeric"},
		{"u", "numeric", "b", 2*65536 + (2048 - 3) + 4, "numeric(2,-3)"},
		{"tsu:UTC", "timestamptz", "b", 3, "timestamp(3) with time zone"},
		{"u", "int4[]", "a", -1, "integer[]"},
		{"u", "varchar[]", "a", 14, "character varying(10)[]"},
		{"u", "public.mood", "e", -1, "text"},
		{"u", "public.mood[]", "a", -1, "text"},
		{"i", "public.positive", "d", -1, "integer"},
		{"u", "regclass", "b", -1, "text"},
		{"u", "int4range", "r", -1, "int4range"},
		{"l", "int4", "b", -1, "bigint"},
		{"u", "int4", "b", -1, "integer"},
	} {
		got := mapping(pdk.Column{Format: c.format, PG: pdk.PGType{Name: c.pg, Kind: c.kind, Typmod: c.typmod}})
		if got.Type != c.want {
			t.Errorf("%s %s: %s, want %s", c.format, c.pg, got.Type, c.want)
		}
	}
}

// TestTypesAreThoseThatTheServerPrints holds the names that mapping gives
// against format_type: a difference would look like a change of type.
func TestTypesAreThoseThatTheServerPrints(t *testing.T) {
	db := openDB(t)
	var columns []string
	want := map[string]string{}
	add := func(name string, typmod int32) {
		for _, array := range []string{"", "[]"} {
			kind := map[string]string{"": "b", "[]": "a"}[array]
			column := fmt.Sprintf("%s%s%d", name, array, typmod)
			want[column] = mapping(pdk.Column{Format: "u", PG: pdk.PGType{Name: name + array, Kind: kind, Typmod: typmod}}).Type
			columns = append(columns, relational.Quote(column)+" "+want[column])
		}
	}
	for name := range builtin {
		add(name, -1)
	}
	for name, typmod := range map[string]int32{"varchar": 14, "bpchar": 14, "numeric": 786438, "timestamptz": 3, "timestamp": 0, "time": 6, "timetz": 2, "bit": 5, "varbit": 7} {
		add(name, typmod)
	}
	if _, err := db.Exec(t.Context(), "CREATE TABLE every ("+strings.Join(columns, ", ")+")"); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query(t.Context(), dialect.Columns("public", "every"))
	if err != nil || len(rows.Rows) != len(columns) {
		t.Fatalf("%d columns: %v", len(columns), err)
	}
	for _, r := range rows.Rows {
		if *r[1] != want[*r[0]] {
			t.Errorf("%s: %s, the server prints %s", *r[0], want[*r[0]], *r[1])
		}
	}
}

func TestWidens(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"integer", "bigint", true}, {"bigint", "integer", false}, {"integer", "numeric(12,2)", true}, {"bigint", "numeric(12,2)", false},
		{"numeric(10,2)", "numeric", true}, {"numeric", "numeric(10,2)", false}, {"numeric(10,2)", "numeric(11,3)", true},
		{"character varying(10)", "character varying(20)", true}, {"character varying", "character varying(20)", false},
		{"character varying(10)", "text", true}, {"text", "integer", false}, {"character(5)", "text", false},
		{"timestamp(3) with time zone", "timestamp with time zone", true}, {"timestamp without time zone", "timestamp with time zone", false},
	} {
		if got := widens(c.from, c.to); got != c.want {
			t.Errorf("widens(%s, %s) = %v", c.from, c.to, got)
		}
	}
}

// TestKeyComesAfterTheFirstLoad looks at the server while a table is loaded
// from two databases, in which a row of each has the key of one of the other.
func TestKeyComesAfterTheFirstLoad(t *testing.T) {
	db := openDB(t)
	h := desttest.NewHost(t.Context(), db)
	d := opener(t)(`{}`)
	var plans []*pdk.TablePlan
	var batches []*batch.Batch
	for _, database := range []string{"eu", "us"} {
		s := &batch.Schema{Table: batch.TableID{Database: database, Schema: "public", Name: "orders"}, Version: 1, Columns: []batch.Column{
			{Name: "id", Type: arrow.PrimitiveTypes.Int32, Key: 1, PG: batch.PGType{Name: "int4", OID: 23, Typmod: -1, Kind: "b"}},
		}}
		b := batch.NewBuilder(s)
		for _, id := range []uint32{7, 7, 8} {
			b.Column(0).AppendUint32(id)
			b.EndRow(batch.Read, 1, uint64(len(batches)), 1)
		}
		p, err := h.Plan(d, s)
		if err != nil {
			t.Fatal(err)
		}
		plans, batches = append(plans, p), append(batches, b.Finish(batch.Position{}))
	}
	keys := func() string {
		rows, err := db.Query(t.Context(), `SELECT (SELECT count(*) FROM pg_constraint WHERE conrelid = 'orders'::regclass AND contype = 'p') || ' key, ' || count(*) || ' rows' FROM orders`)
		if err != nil {
			t.Fatal(err)
		}
		return *rows.Rows[0][0]
	}
	for i, want := range []string{"0 key, 3 rows", "1 key, 2 rows"} {
		// The second database's rows meet those of the first. A batch has a key
		// once, as the engine compacts it.
		b := batches[i]
		if i == 1 {
			b = batch.Take(b, []int32{0, 2})
		}
		if err := h.Write(d, plans[i], b); err != nil {
			t.Fatal(err)
		}
		if err := d.Commit(nil); err != nil {
			t.Fatal(err)
		}
		if got := keys(); got != want {
			t.Errorf("after database %d: %s, want %s", i, got, want)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	desttest.Load(b, desttest.NewHost(b.Context(), openDB(b)), opener(b))
}
