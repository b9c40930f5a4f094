package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/capsule"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// replay makes the call of a capsule again in a host of its own, with the
// plugin in a folder.
func replay(t *testing.T, c *capsule.Capsule, plugin string) capsule.Outcome {
	t.Helper()
	b, err := bundle.Resolve(plugin, ".")
	if err != nil {
		t.Fatal(err)
	}
	host, err := wasm.NewHost(t.Context(), wasm.Config{CacheDir: cacheDir})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close(context.Background())
	tr, err := host.Transform(t.Context(), b.Module, wasm.Plugin{Name: c.Plugin, Version: c.Version, Digest: b.Digest, Config: c.Config, Limits: c.Limits})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close(context.Background())
	now, err := c.Replay(t.Context(), tr)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// TestCapsules keeps calls that failed in files, makes them again, and looks
// for what must not be in them.
func TestCapsules(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec := func(sql ...string) {
		t.Helper()
		if err := server.Exec(t.Context(), database, sql...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE a (id int PRIMARY KEY, name text, private text DEFAULT 'not declared')`,
		`INSERT INTO a VALUES (1, 'trap'), (2, 'refused by candidate'), (3, 'Fine 7')`)
	broken, mended := shout(t, "candidate"), shout(t, "live")
	dir := t.TempDir()
	p := pipelineIn(t, dir, server, database, "[[transforms]]", `plugin = "`+broken+`"`)
	closed := false
	defer func() {
		if !closed {
			p.Close(context.Background())
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := p.Run(ctx, engine.RunOptions{UntilCaughtUp: true}); err != nil {
		t.Fatal(err)
	}
	var events []state.Failed
	for f, err := range p.FailedEvents(state.FailedFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, f)
	}
	if len(events) != 2 {
		t.Fatalf("%d failed events, want 2", len(events))
	}
	for _, f := range events {
		made, err := p.Capsule(t.Context(), f.ID, false)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "a.capsule")
		if err := made.Write(path); err != nil {
			t.Fatal(err)
		}
		c, err := capsule.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		trapped := strings.Contains(f.Reason, "shout meets a trap")
		if o := c.Outcome; trapped != (o.Error != "") || trapped == (len(o.Refused) == 1) || !strings.Contains(o.String(), "shout") {
			t.Errorf("outcome of the event %q: %s", f.Reason, o)
		}
		if now := replay(t, c, broken); !now.Equal(c.Outcome) {
			t.Errorf("recorded %s\nreplayed %s", c.Outcome, now)
		}
		if now := replay(t, c, mended); now.Failed() {
			t.Errorf("the mended plugin: %s", now)
		}
		b, err := batch.Unmarshal(c.Batch)
		if err != nil {
			t.Fatal(err)
		}
		if i := b.Schema.Column("private"); b.IsPresent(i, 0) || b.Rows.Column(i).IsValid(0) {
			t.Error("a column that the plugin did not declare is in the capsule")
		}
		b.Release()
		masked, err := p.Capsule(t.Context(), f.ID, true)
		if err != nil {
			t.Fatal(err)
		}
		if b, err = batch.Unmarshal(masked.Batch); err != nil {
			t.Fatal(err)
		}
		if text := b.Rows.Column(b.Schema.Column("name")).ValueStr(0); !masked.Masked || strings.Trim(text, "x ") != "" {
			t.Errorf("the masked capsule has %q", text)
		}
		b.Release()
	}
	// More rows than may be set aside one by one stop the pipeline, and the call
	// is kept by itself.
	exec(`INSERT INTO a SELECT 100 + n, 'trap' FROM generate_series(1, 300) n`)
	err := p.Run(ctx, engine.RunOptions{UntilCaughtUp: true})
	var failure *wasm.Error
	if !errors.As(err, &failure) {
		t.Fatalf("the run ended with %v", err)
	}
	kept, err := filepath.Glob(filepath.Join(dir, ".leat", "test", "capsules", "*.capsule"))
	if err != nil || len(kept) == 0 {
		t.Fatalf("%d capsules were kept, %v", len(kept), err)
	}
	c, err := capsule.Open(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	if now := replay(t, c, broken); !now.Equal(c.Outcome) || !now.Failed() {
		t.Errorf("recorded %s\nreplayed %s", c.Outcome, now)
	}
	if info, err := os.Stat(kept[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the capsule can be read by others: %v, %v", info.Mode(), err)
	}
	closed = true
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestCapsuleAfterAChangedPlugin: a row that another build of the plugin refuses,
// too, is that one's after a replay, and its call can be saved.
func TestCapsuleAfterAChangedPlugin(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	if err := server.Exec(t.Context(), database, `CREATE TABLE a (id int PRIMARY KEY, name text)`, `INSERT INTO a VALUES (1, 'trap'), (2, 'Fine 7')`); err != nil {
		t.Fatal(err)
	}
	broken, dir := shout(t, "candidate"), t.TempDir()
	open := func() *engine.Pipeline {
		return pipelineIn(t, dir, server, database, "[[transforms]]", `plugin = "`+broken+`"`)
	}
	p := open()
	if err := p.Run(t.Context(), engine.RunOptions{UntilCaughtUp: true}); err != nil {
		t.Fatal(err)
	}
	event := func() (f state.Failed) {
		t.Helper()
		for one, err := range p.FailedEvents(state.FailedFilter{}) {
			if err != nil || f.ID != "" {
				t.Fatalf("another event than %q: %v", f.ID, err)
			}
			f = one
		}
		return f
	}
	before := event()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	module := filepath.Join(broken, "shout.wasm")
	code, err := os.ReadFile(module)
	if err == nil {
		err = os.WriteFile(module, append(code, 0, 2, 1, 'x'), 0o600) // a custom section
	}
	if err != nil {
		t.Fatal(err)
	}
	p = open()
	defer func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if _, err := p.Capsule(t.Context(), before.ID, false); err == nil || !strings.Contains(err.Error(), "leat failed replay tries the row with it") {
		t.Errorf("the call of a plugin that is gone: %v", err)
	}
	if r, err := p.Replay(t.Context(), []string{before.ID}); err != nil || len(r.Failed) != 1 {
		t.Fatalf("replayed %+v, %v", r, err)
	}
	after := event()
	if after.Digest == before.Digest || after.Plugin != before.Plugin || after.Attempts != before.Attempts+1 {
		t.Errorf("the event is %+v, it was %+v", after, before)
	}
	if c, err := p.Capsule(t.Context(), after.ID, true); err != nil || !c.Masked {
		t.Errorf("the call of the plugin that is there: %v", err)
	}
}
