package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/engine/server"
	"github.com/leat-etl/leat/engine/spec"
)

func TestMain(m *testing.M) { os.Exit(pgserver.Main(m)) }

// TestRunningPipelineAnswers asks a running pipeline everything over its
// control socket, and scrapes its metrics.
func TestRunningPipelineAnswers(t *testing.T) {
	pg := pgserver.Test(t, pgserver.Options{})
	database := pg.Database(t)
	if err := pg.Exec(t.Context(), database, `CREATE TABLE people (id int PRIMARY KEY, email text)`,
		`INSERT INTO people SELECT n, n || '@example.com' FROM generate_series(1, 500) n`); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("LEAT_TEST_PASSWORD", pg.Password())
	s, err := spec.Parse(filepath.Join(dir, "people.toml"), fmt.Appendf(nil, `name = "people"
[source]
host = %q
port = %d
user = %q
password = { env = "LEAT_TEST_PASSWORD" }
database = %q
[[transforms]]
plugin = "mask"
config = { columns = ["email"], method = "keep-domain" }
[destination]
plugin = "duckdb"
config = { path = "people.duckdb" }
`, pg.Host(), pg.Port(), pg.User(), database))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	p, err := engine.Open(ctx, s, engine.Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	listener, path, err := server.Listen(engine.StateDir(s, ""))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the control socket has mode %v, %v", info.Mode(), err)
	}
	var running errgroup.Group
	running.Go(func() error { return p.Run(ctx, engine.RunOptions{}) })
	running.Go(func() error { return server.Serve(ctx, listener, server.Control(p)) })
	if err := p.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	ask(ctx, t, server.Dial(path))
	scrape(t, p)
	stop()
	if err := running.Wait(); err != nil {
		t.Error(err)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func ask(ctx context.Context, t *testing.T, c *server.Client) {
	status, err := c.Status(ctx)
	if err != nil || len(status.Tables) != 1 || status.Tables[0].Loaded != 500 {
		t.Errorf("status %+v, %v", status, err)
	}
	objects, err := c.Objects(ctx)
	if err != nil || len(objects) != 1 || objects[0].State != "STREAMING" {
		t.Errorf("objects %+v, %v", objects, err)
	}
	rows := ""
	if err := c.Query(ctx, `SELECT count(*) AS n, min(email) AS email FROM people`, func(r engine.Rows) error {
		for _, row := range r.Rows {
			rows += fmt.Sprintf("%s=%s %s=%s", r.Columns[0], *row[0], r.Columns[1], *row[1])
		}
		return nil
	}); err != nil || !strings.HasPrefix(rows, "n=500 email=") || !strings.HasSuffix(rows, "@example.com") || strings.Contains(rows, "1@") {
		t.Errorf("query returned %q, %v", rows, err)
	}
	if err := c.Query(ctx, `SELECT nonsense FROM people`, func(engine.Rows) error { return nil }); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a wrong query returned %v", err)
	}
	v, err := c.Verify(ctx)
	if err != nil || !v.Equal() || len(v.Tables) != 1 || v.Tables[0].SourceRows != 500 || v.Tables[0].DestinationRows != 500 {
		t.Errorf("verify %+v, %v", v, err)
	}
	if failed, err := c.Failed(ctx); err != nil || len(failed) != 0 {
		t.Errorf("failed events %+v, %v", failed, err)
	}
	if _, err := c.Replay(ctx, []string{"no such event"}); err == nil {
		t.Error("an unknown event was replayed")
	}
	if _, err := c.Skip(ctx, nil); err == nil {
		t.Error("skip without events did something")
	}
}

func scrape(t *testing.T, p *engine.Pipeline) {
	web := httptest.NewServer(server.Metrics(p))
	defer web.Close()
	answer, err := http.Get(web.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`leat_rows_total{database="`, `operation="read",pipeline="people",schema="public",table="people"} 500`,
		`leat_lag_bytes{`, `leat_retained_wal_bytes{`, `leat_deliveries_total{`, `leat_failed_events{pipeline="people"} 0`,
		`leat_plugin_fuel_total{pipeline="people",plugin="1:mask"}`, `leat_plugin_seconds_total{pipeline="people",plugin="duckdb"}`,
		`leat_plugin_memory_bytes{`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(string(text), `leat_plugin_fuel_total{pipeline="people",plugin="1:mask"} 0`+"\n") {
		t.Error("mask has used no fuel")
	}
}
