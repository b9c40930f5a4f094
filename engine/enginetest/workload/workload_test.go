package workload

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/compare"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

var seed = flag.Int64("seed", time.Now().UnixNano()%1_000_000, "seed of the workload")

func TestMain(m *testing.M) { os.Exit(pgserver.Main(m)) }

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// created returns a workload whose tables are in a database of its own.
func created(t *testing.T, seed int64, o Options) (*Workload, *pgx.Conn, string) {
	t.Helper()
	s := pgserver.Test(t, pgserver.Options{})
	dsn := s.DSN(s.Database(t))
	conn := connect(t, dsn)
	w := New(seed, o)
	if err := w.Create(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	return w, conn, dsn
}

func TestEqualSeedsGiveEqualTables(t *testing.T) {
	var dsns []string
	for range 2 {
		w, conn, dsn := created(t, *seed, Options{})
		if err := w.Run(t.Context(), conn, 400); err != nil {
			t.Fatalf("%v\n%s", err, w.Log())
		}
		dsns = append(dsns, dsn)
	}
	filled := 0
	for _, table := range Tables {
		r, err := compare.Tables(t.Context(), compare.Postgres(dsns[1], table), compare.Options{}, compare.Source{DSN: dsns[0], Table: table})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Equal() {
			t.Errorf("seed %d, %s: %s", *seed, table, r)
		}
		filled += r.SourceRows
	}
	if filled == 0 {
		t.Errorf("seed %d leaves no row", *seed)
	}
}

// TestModelIsTheServersState also proves that every statement hits the rows it
// is meant for: a miss would make the two differ.
func TestModelIsTheServersState(t *testing.T) {
	w, conn, _ := created(t, *seed, Options{Schema: "public"})
	for range 20 {
		if err := w.Run(t.Context(), conn, 20); err != nil {
			t.Fatalf("%v\n%s", err, w.Log())
		}
		known := w.model
		if err := w.reload(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		for i, s := range shapes {
			if got, want := len(w.model.tables[i].live), len(known.tables[i].live); got != want {
				t.Fatalf("seed %d, step %d: %s has %d rows, the model %d\n%s", *seed, w.Steps(), s.name, got, want, w.Log())
			}
			if got, want := w.model.tables[i].extras, known.tables[i].extras; !slices.Equal(got, want) {
				t.Fatalf("seed %d, step %d: %s has the columns %v, the model %v", *seed, w.Steps(), s.name, got, want)
			}
		}
		w.model = known
	}
}

func TestEveryKindOfWorkIsDrawn(t *testing.T) {
	w := New(1, Options{})
	var all strings.Builder
	for range 6000 {
		d := w.draw()
		if d.commits {
			w.model = d.model
		}
		fmt.Fprintln(&all, strings.Join(d.statements, ";\n"))
	}
	for _, pattern := range []string{
		`INSERT INTO \S*wl_journal`, `INSERT INTO \S*wl_accounts" [^\n]*(\), \(.*){19}`, `UPDATE \S*wl_accounts" SET id =`, `UPDATE \S*wl_places" SET country = .*, ref =`,
		`UPDATE \S*wl_documents" SET revision = [^,]* WHERE`, `UPDATE \S*wl_documents" SET .*body =`, `DELETE FROM \S*wl_profiles`,
		`TRUNCATE \S*"wl_\w+";`, `TRUNCATE \S*"wl_\w+", `, `ROLLBACK;?\n`, `ROLLBACK TO s1`, `RELEASE s1`, `SAVEPOINT s2`,
		`ADD COLUMN added_1 text`, `ADD COLUMN added_2 integer DEFAULT`, `RENAME COLUMN added_\d TO renamed_`, `RENAME COLUMN on_the_way`, `DROP COLUMN`, `TYPE bigint`, `TYPE text`, `TYPE numeric\(16,5\)`,
	} {
		if !regexp.MustCompile(pattern).MatchString(all.String()) {
			t.Errorf("6000 transactions without %s", pattern)
		}
	}
	quiet := New(1, Options{NoTruncate: true, NoDDL: true})
	for range 2000 {
		d := quiet.draw()
		if text := strings.Join(d.statements, ";"); strings.Contains(text, "TRUNCATE") || strings.Contains(text, "ALTER") {
			t.Fatalf("drawn although it is off: %s", text)
		}
		quiet.model = d.model
	}
}

func TestWorkGoesOnAfterALostConnection(t *testing.T) {
	w, conn, dsn := created(t, *seed, Options{})
	if err := w.Run(t.Context(), conn, 50); err != nil {
		t.Fatal(err)
	}
	killer := connect(t, dsn)
	if _, err := killer.Exec(t.Context(), "SELECT pg_terminate_backend($1, 10000)", conn.PgConn().PID()); err != nil {
		t.Fatal(err)
	}
	if err := w.Step(t.Context(), conn); err == nil || !strings.Contains(err.Error(), fmt.Sprint("seed ", *seed)) {
		t.Fatalf("step on a dead connection: %v", err)
	}
	if err := w.Run(t.Context(), connect(t, dsn), 50); err != nil {
		t.Errorf("%v\n%s", err, w.Log())
	}
}

func TestRunUntilTheContextEnds(t *testing.T) {
	w, conn, _ := created(t, *seed, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := w.Run(ctx, conn, 0); err != nil {
		t.Error(err)
	}
	if w.Steps() == 0 {
		t.Error("no step in 0.3 seconds")
	}
	if err := w.Run(ctx, conn, 1); !errors.Is(err, context.DeadlineExceeded) && err == nil {
		t.Error("a counted run says nothing of its end")
	}
}
