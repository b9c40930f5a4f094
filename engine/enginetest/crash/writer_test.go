package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/workload"
)

// stock is a table beside those of the workload that is never emptied, so that
// a historical load has many parts, and whose rows move while it is loaded.
const (
	stock      = "stock"
	stockRows  = 4000
	stockTable = `CREATE TABLE stock (id int PRIMARY KEY, filler text NOT NULL, pieces int NOT NULL)`
	stockFill  = `INSERT INTO stock SELECT n, repeat(md5(n::text), 20), 0 FROM generate_series(1, %d) n`
)

// The pauses between two transactions of a writer. While history is loaded it
// is long: a TRUNCATE makes the load of its table begin again.
const (
	slowly  = 300 * time.Millisecond
	quickly = 30 * time.Millisecond
)

// hurry is how many transactions a writer makes quickly, and then goes on slowly:
// without it a slow machine had more to catch up with for being slow.
const hurry = 200

// writer keeps one database changing.
type writer struct {
	work   *workload.Workload
	dsn    string
	random *rand.Rand
	pace   chan time.Duration
	stop   chan struct{}
	done   chan error
}

// newWriter makes and fills the tables of a database.
func newWriter(t *testing.T, dsn string, seed int64, v variant) *writer {
	t.Helper()
	w := &writer{pace: make(chan time.Duration), work: workload.New(seed, workload.Options{NoDDL: !v.ddl, Keys: v.ddl && !v.merge, FlatArrays: v.arrays() == "list"}), dsn: dsn, random: rand.New(rand.NewPCG(uint64(seed), 2))}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range []string{stockTable, fmt.Sprintf(stockFill, stockRows)} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.work.Create(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if err := w.work.Run(t.Context(), conn, 80); err != nil {
		t.Fatalf("%v\n%s", err, w.work.Log())
	}
	return w
}

// begin lets the writer work until end, slowly at first.
func (w *writer) begin() {
	w.stop, w.done = make(chan struct{}), make(chan error, 1)
	go func(stop <-chan struct{}) { w.done <- w.run(context.Background(), stop) }(w.stop)
}

// end stops the writer after the transaction that it is in.
func (w *writer) end() error {
	if w.stop == nil {
		return nil
	}
	close(w.stop)
	w.stop = nil
	return <-w.done
}

// run works until stop is closed, and then writes a row into every table. Where
// the server goes away it connects again; every other failure is one of the
// test.
func (w *writer) run(ctx context.Context, stop <-chan struct{}) error {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			conn.Close(ctx)
		}
	}()
	tick, pace, hurried := time.NewTicker(slowly), slowly, 0
	defer tick.Stop()
	for {
		select {
		case <-stop:
			if conn == nil || conn.IsClosed() {
				var err error
				if conn, err = pgx.Connect(ctx, w.dsn); err != nil {
					return err
				}
			}
			return w.work.Touch(ctx, conn)
		case pace = <-w.pace:
			if hurried > hurry {
				pace = max(pace, slowly)
			}
			tick.Reset(pace)
			continue
		case <-tick.C:
		}
		if pace < slowly {
			if hurried++; hurried > hurry {
				pace = slowly
				tick.Reset(pace)
			}
		}
		if conn == nil || conn.IsClosed() {
			var err error
			if conn, err = pgx.Connect(ctx, w.dsn); err != nil {
				conn = nil
				continue // the server is down
			}
		}
		if err := w.step(ctx, conn); err != nil && !conn.IsClosed() {
			return err
		}
	}
}

func (w *writer) step(ctx context.Context, conn *pgx.Conn) error {
	if err := w.work.Step(ctx, conn); err != nil {
		return err
	}
	n := w.random.IntN(100)
	_, err := conn.Exec(ctx, [...]string{
		`UPDATE stock SET pieces = pieces + 1 WHERE id % 100 = $1`,
		`WITH gone AS (DELETE FROM stock WHERE id % 100 = $1 AND id % 3 = 0 RETURNING *) INSERT INTO stock SELECT id + 100000, filler, -pieces FROM gone`,
		`UPDATE stock SET id = id + 1000000 WHERE id % 1000 = $1 * 10`,
	}[w.random.IntN(3)], n)
	return err
}
