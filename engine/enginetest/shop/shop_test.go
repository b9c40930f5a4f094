package shop

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

func TestMain(m *testing.M) { os.Exit(pgserver.Main(m)) }

func ask(t *testing.T, dsn, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var answer string
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

const digest = `SELECT md5(string_agg(t, ',')) FROM (
	SELECT t FROM (SELECT customers::text t FROM customers ORDER BY id) a UNION ALL
	SELECT t FROM (SELECT products::text FROM products ORDER BY id) b (t) UNION ALL
	SELECT t FROM (SELECT orders::text FROM orders ORDER BY id) c (t) UNION ALL
	SELECT t FROM (SELECT carts::text FROM carts ORDER BY customer_id, position) d (t)) x`

// create makes one sample database on a server of this test.
func create(t *testing.T, s *pgserver.Server, database string) {
	t.Helper()
	if err := Create(t.Context(), s.DSN("postgres"), database, 1); err != nil {
		t.Fatal(err)
	}
}

func TestCreateFillsEveryTableTheSameWayEachTime(t *testing.T) {
	first, second := pgserver.Own(t, pgserver.Options{}), pgserver.Own(t, pgserver.Options{})
	for _, db := range Databases {
		create(t, first, db)
	}
	create(t, second, Databases[0])
	eu := first.DSN(Databases[0])
	for table, want := range map[string]string{"customers": "1000", "products": "200", "orders": "5000", "order_events": "10000", "carts": "300"} {
		if got := ask(t, eu, "SELECT count(*)::text FROM "+table); got != want {
			t.Errorf("%s has %s rows, want %s", table, got, want)
		}
	}
	if got := ask(t, eu, "SELECT (count(*) FILTER (WHERE length(description) BETWEEN 4000 AND 10000) = count(*))::text FROM products"); got != "true" {
		t.Error("descriptions are not of 4 to 10 kB")
	}
	if got := ask(t, eu, "SELECT (count(DISTINCT name) > 200 AND count(DISTINCT email) = 1000)::text FROM customers"); got != "true" {
		t.Error("customers are all alike")
	}
	one, other := ask(t, eu, digest), ask(t, first.DSN(Databases[1]), digest)
	if again := ask(t, second.DSN(Databases[0]), digest); again != one {
		t.Error("the same database differs on another server")
	}
	if one == other {
		t.Error("both databases hold the same rows")
	}
}

func TestWriterChangesEverythingAndCountsIt(t *testing.T) {
	s := pgserver.Own(t, pgserver.Options{})
	create(t, s, Databases[0])
	dsn := s.DSN(Databases[0])
	const rows = "SELECT ((SELECT count(*) FROM customers) + (SELECT count(*) FROM products) + (SELECT count(*) FROM orders) + (SELECT count(*) FROM order_events))::text"
	before := ask(t, dsn, digest)
	w := &Writer{DSN: dsn, Seed: 7}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	deadline := time.After(time.Minute)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for w.Written().Transactions < 300 {
		select {
		case err := <-done:
			t.Fatalf("Run ended early: %v", err)
		case <-deadline:
			t.Fatalf("after a minute: %+v", w.Written())
		case <-poll.C:
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	got := w.Written()
	if got.Inserted == 0 || got.Updated == 0 || got.Deleted == 0 || got.Truncated != 1 {
		t.Errorf("counts %+v", got)
	}
	if ask(t, dsn, digest) == before {
		t.Error("nothing changed")
	}
	if n := ask(t, dsn, "SELECT count(*)::text FROM order_events WHERE event = 'never happened'"); n != "0" {
		t.Errorf("%s events of rolled-back transactions", n)
	}
	t.Logf("%+v, rows %s", got, ask(t, dsn, rows))
}

func TestWriterKeepsItsRateAndReportsFailure(t *testing.T) {
	s := pgserver.Own(t, pgserver.Options{})
	create(t, s, Databases[0])
	w := &Writer{DSN: s.DSN(Databases[0]), Rate: 50, Seed: 1}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n := w.Written().Transactions; n == 0 || n > 55 {
		t.Errorf("%d transactions in a second at a rate of 50", n)
	}
	if err := s.Exec(t.Context(), Databases[0], "DROP TABLE order_events"); err != nil {
		t.Fatal(err)
	}
	if err := w.Run(t.Context()); err == nil {
		t.Error("no error although a table is gone")
	}
}
