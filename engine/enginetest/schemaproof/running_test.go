//go:build duckdb_arrow

package schemaproof

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// running is a pipeline at work.
type running struct {
	*engine.Pipeline
	cancel context.CancelFunc
	ended  chan error
}

// start opens a pipeline and runs it until stop.
func (p *pipeline) start(t *testing.T) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{cancel: cancel, ended: make(chan error, 1)}
	opened := make(chan *engine.Pipeline, 1)
	go func() {
		r.ended <- p.with(ctx, func(ctx context.Context, e *engine.Pipeline) error {
			opened <- e
			return e.Run(ctx, engine.RunOptions{})
		})
	}()
	select {
	case r.Pipeline = <-opened:
	case err := <-r.ended:
		t.Fatalf("%s: %v", p.destination, err)
	}
	return r
}

// catchUp waits until everything that was committed is at the destination.
func (r *running) catchUp(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	caught := make(chan error, 1)
	go func() { caught <- r.CatchUp(ctx) }()
	select {
	case err := <-caught:
		if err != nil {
			t.Fatal(err)
		}
	case err := <-r.ended:
		t.Fatalf("the run has ended: %v", err)
	}
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if err := <-r.ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// keyChanges are what may become of the key of table k (id, other, v), whatever
// it has.
var keyChanges = []string{
	`ALTER TABLE k DROP CONSTRAINT IF EXISTS k_pkey; ALTER TABLE k ADD CONSTRAINT k_pkey PRIMARY KEY (id)`,
	`ALTER TABLE k DROP CONSTRAINT IF EXISTS k_pkey; ALTER TABLE k ADD CONSTRAINT k_pkey PRIMARY KEY (other)`,
	`ALTER TABLE k DROP CONSTRAINT IF EXISTS k_pkey; ALTER TABLE k ADD CONSTRAINT k_pkey PRIMARY KEY (id, other)`,
	`ALTER TABLE k DROP CONSTRAINT IF EXISTS k_pkey; ALTER TABLE k ADD CONSTRAINT k_pkey PRIMARY KEY (other, id)`,
	`ALTER TABLE k DROP CONSTRAINT IF EXISTS k_pkey`,
	`ALTER TABLE k REPLICA IDENTITY FULL`,
	`ALTER TABLE k REPLICA IDENTITY NOTHING`,
	`ALTER TABLE k REPLICA IDENTITY DEFAULT`,
	`ALTER TABLE k REPLICA IDENTITY USING INDEX k_other`,
	`DROP INDEX IF EXISTS k_other; CREATE UNIQUE INDEX k_other ON k (other)`,
	`ALTER TABLE k REPLICA IDENTITY FULL; ALTER TABLE k DROP CONSTRAINT IF EXISTS k_pkey`,
}

// work is what is done to the rows of k, of whose numbers every one is free at
// some time.
func work(random *rand.Rand) string {
	n := random.IntN(40)
	return []string{
		fmt.Sprintf(`INSERT INTO k SELECT n, n, 'new %[1]d' FROM generate_series(%[1]d, %[1]d + 4) n WHERE NOT EXISTS (SELECT FROM k WHERE n IN (id, other))`, n),
		fmt.Sprintf(`UPDATE k SET v = v || ' %d' WHERE id %% 7 = %d`, n, n%7),
		fmt.Sprintf(`DELETE FROM k WHERE id = %d`, n),
		fmt.Sprintf(`UPDATE k SET id = id + 100, other = other + 200, v = 'moved' WHERE id = %d AND NOT EXISTS (SELECT FROM k WHERE id = %[1]d + 100 OR other = %[1]d + 200)`, n),
		fmt.Sprintf(`DELETE FROM k WHERE other > 200 AND id %% 3 = %d`, n%3),
	}[random.IntN(5)]
}

// TestKeysWhileRunning changes keys and replica identities at random while two
// pipelines run and rows are written. An UPDATE may fail until both have seen
// that the table has lost its key, and not longer.
func TestKeysWhileRunning(t *testing.T) {
	t.Logf("repeat with -args -seed %d", *seed)
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec(t, server, database, `CREATE TABLE k (id int NOT NULL, other int NOT NULL, v text); CREATE UNIQUE INDEX k_other ON k (other); CREATE UNIQUE INDEX k_id ON k (id);
		INSERT INTO k SELECT n, n, 'old' FROM generate_series(1, 20) n`)
	conn, err := pgx.Connect(t.Context(), server.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	random := rand.New(rand.NewPCG(uint64(*seed), 11))
	var log []string
	defer func() {
		if t.Failed() {
			t.Log(strings.Join(log, ";\n"))
		}
	}()
	do := func(sql string) {
		t.Helper()
		log = append(log, sql)
		for patience := time.Now().Add(30 * time.Second); ; {
			_, err := conn.Exec(t.Context(), sql)
			var refused *pgconn.PgError
			if errors.As(err, &refused) && refused.Code == "55000" && time.Now().Before(patience) {
				continue // the table is still published for updates
			}
			if err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
			return
		}
	}
	both := []*pipeline{newPipeline(t, server, "duckdb", database), newPipeline(t, server, "postgres", database)}
	for range 4 {
		var run []*running
		for _, p := range both {
			run = append(run, p.start(t))
		}
		for range 6 {
			if sql := keyChanges[random.IntN(len(keyChanges))]; !strings.Contains(sql, "USING INDEX") || has(t, conn, "k_other") {
				do(sql)
			}
			for range 4 {
				do(work(random))
			}
			if random.IntN(2) == 0 {
				for _, r := range run {
					r.catchUp(t)
				}
			}
		}
		do(`ALTER TABLE k REPLICA IDENTITY ` + []string{"FULL", "DEFAULT"}[random.IntN(2)]) // so that all of it is replicated
		if random.IntN(2) == 0 {
			do(keyChanges[random.IntN(4)])
		} else {
			do(`ALTER TABLE k REPLICA IDENTITY FULL`)
		}
		for range 4 {
			do(work(random))
		}
		do(`INSERT INTO k SELECT coalesce(max(id), 0) + 1000, coalesce(max(other), 0) + 1000, 'last' FROM k`)
		for _, r := range run {
			r.catchUp(t)
			r.stop(t)
		}
		catchUp(t, both...) // loads that the last changes have made due
		for _, p := range both {
			p.equal(t, "k")
			p.verify(t)
		}
		if t.Failed() {
			return
		}
	}
}

// TestIdentityWhileRunning gives a table a key, takes it away and gives it another
// identity while the pipeline runs and nothing but the change tells of it: no
// row is inserted, and what is updated before the table is published so is in no
// log.
func TestIdentityWhileRunning(t *testing.T) {
	t.Parallel()
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec(t, server, database, `CREATE TABLE o (id int NOT NULL, v text); INSERT INTO o SELECT n, 'v' FROM generate_series(1, 9) n; CREATE UNIQUE INDEX o_id ON o (id)`)
	p := newPipeline(t, server, "postgres", database)
	var log said
	p.log = slog.New(slog.NewTextHandler(&log, nil))
	r := p.start(t)
	defer func() {
		if t.Failed() {
			t.Log(log.take())
		}
	}()
	r.catchUp(t)
	reader, err := pgx.Connect(t.Context(), server.DSN(p.target))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(context.Background())
	live := func(want string) {
		t.Helper()
		is := ""
		for patience := time.Now().Add(time.Minute); is != want && time.Now().Before(patience); {
			err := reader.QueryRow(t.Context(), `SELECT coalesce(string_agg(id || v, ' ' ORDER BY id), '') FROM o WHERE NOT __leat_marked_deleted`).Scan(&is)
			if err != nil {
				t.Fatal(err)
			}
		}
		if is != want {
			t.Fatalf("the destination has %q, want %q", is, want)
		}
	}
	exec(t, server, database, `ALTER TABLE o ADD PRIMARY KEY (id); DELETE FROM o WHERE id > 3; UPDATE o SET v = 'keyed' WHERE id = 1`)
	live("1keyed 2v 3v")
	exec(t, server, database, `UPDATE o SET v = 'again' WHERE id = 2`)
	live("1keyed 2again 3v")
	exec(t, server, database, `ALTER TABLE o DROP CONSTRAINT o_pkey`)
	for patience := time.Now().Add(time.Minute); ; {
		err := server.Exec(t.Context(), database, `UPDATE o SET v = 'keyless' WHERE id = 3`)
		if err == nil {
			break
		}
		if time.Now().After(patience) {
			t.Fatal(err)
		}
	}
	exec(t, server, database, `ALTER TABLE o REPLICA IDENTITY USING INDEX o_id; DELETE FROM o WHERE id = 1`)
	live("2again 3keyless")
	exec(t, server, database, `ALTER TABLE o REPLICA IDENTITY FULL; DROP INDEX o_id; INSERT INTO o VALUES (2, 'twin'); UPDATE o SET v = 'whole' WHERE v = 'again'`)
	live("2twin 2whole 3keyless")
	r.stop(t)
	p.equal(t, "o")
	text := log.take()
	for _, want := range []string{"identifies no row of a table any more", "identifies the rows of a table again", "REPLICA IDENTITY"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not say %q:\n%s", want, text)
		}
	}
}

func has(t *testing.T, conn *pgx.Conn, relation string) (there bool) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), `SELECT to_regclass($1) IS NOT NULL`, relation).Scan(&there); err != nil {
		t.Fatal(err)
	}
	return there
}
