package engine_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

var seed = flag.Uint64("seed", 0, "seed of the property tests, 0 for a new one")

// TestNoRowOfALongTransactionIsMissed lets transactions of random length write
// while runs read: when all have ended and one more run has been, source and
// destination are equal, also a table without a key, whose rows come once.
func TestNoRowOfALongTransactionIsMissed(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", *seed)
	for name, objects := range map[string][2]string{
		"xmin":         {xminMode, ""},
		"timestamp":    {tableMode, delta},
		"incrementing": {tableMode, incrementing},
		"both":         {tableMode, strings.Replace(capture, "public.*", "public.a", 1) + "\n" + strings.Replace(delta, "public.*", "public.keyless", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(*seed, 7))
			p := newPolled(t,
				`CREATE TABLE a (id bigserial PRIMARY KEY, v int NOT NULL, at timestamptz NOT NULL DEFAULT now())`, `CREATE INDEX ON a (at)`,
				`CREATE TABLE keyless (id bigserial, v int NOT NULL, at timestamptz NOT NULL DEFAULT now())`)
			p.open(objects[0], objects[1])
			w := &longWriters{t: t, random: random, changes: name != "incrementing"}
			for range 4 {
				conn, err := pgx.Connect(t.Context(), p.server.DSN(p.database))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close(context.Background())
				w.writers = append(w.writers, &longWriter{conn: conn})
			}
			for range 12 {
				for range 25 {
					w.step()
				}
				p.mustRun()
			}
			for _, one := range w.writers {
				w.end(one)
			}
			p.mustRun()
			p.verify()
			if got, want := p.ask(`SELECT count(*) FROM keyless`), w.ask(`SELECT count(*) FROM keyless`); got != want {
				t.Errorf("the table without a key has %s rows, want %s", got, want)
			}
			if got, want := p.ask(`SELECT concat(count(*), ' ', sum(v)) FROM a WHERE NOT __leat_marked_deleted`), w.ask(`SELECT concat(count(*), ' ', sum(v)) FROM a`); got != want {
				t.Errorf("the destination has %s rows and sum, want %s", got, want)
			}
		})
	}
}

// longWriters are sessions whose transactions last for a random number of
// steps.
type longWriters struct {
	t       *testing.T
	random  *rand.Rand
	writers []*longWriter
	changes bool
}

type longWriter struct {
	conn *pgx.Conn
	open bool
}

func (w *longWriters) exec(one *longWriter, sql string) {
	w.t.Helper()
	if _, err := one.conn.Exec(w.t.Context(), sql); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *longWriters) ask(sql string) (answer string) {
	w.t.Helper()
	if err := w.writers[0].conn.QueryRow(w.t.Context(), "SELECT ("+sql+")::text").Scan(&answer); err != nil {
		w.t.Fatal(err)
	}
	return answer
}

// step lets one of the writers do one thing. Each changes rows of its own, so
// that none waits for another.
func (w *longWriters) step() {
	at := w.random.IntN(len(w.writers))
	one := w.writers[at]
	if !one.open {
		w.exec(one, "BEGIN")
		one.open = true
		if w.random.IntN(2) == 0 { // the transaction has a time, and no number yet
			w.exec(one, "SELECT now()")
			return
		}
	}
	switch n := w.random.IntN(10); {
	case n < 4:
		w.exec(one, fmt.Sprintf("INSERT INTO a (v) VALUES (%d)", w.random.IntN(1000)))
	case n < 6:
		w.exec(one, fmt.Sprintf("SAVEPOINT s; INSERT INTO keyless (v) VALUES (%d); RELEASE s", w.random.IntN(1000)))
	case n < 7:
		w.exec(one, "SAVEPOINT s; INSERT INTO keyless (v) VALUES (-1); ROLLBACK TO s; RELEASE s")
	case n < 8 && w.changes:
		w.exec(one, fmt.Sprintf("UPDATE a SET v = v + 1, at = now() WHERE id %% %d = %d AND id %% 3 = %d", len(w.writers), at, w.random.IntN(3)))
	case w.random.IntN(3) == 0:
		w.end(one)
	}
}

func (w *longWriters) end(one *longWriter) {
	if !one.open {
		return
	}
	one.open = false
	if w.random.IntN(5) == 0 {
		w.exec(one, "ROLLBACK")
		return
	}
	w.exec(one, "COMMIT")
}
