package desttest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
)

// compile builds the guest in the current folder.
func compile(t *testing.T) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags", "-s -w", "-o", out, ".")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build guest: %v\n%s", err, text)
	}
	code, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// Sandboxed takes the guest of the current folder through its life in the real
// host: rows, a failure of the database, another instance, the checkpoint.
func Sandboxed(t *testing.T, db capability.SQL) {
	ctx := context.Background()
	host, err := wasm.NewHost(ctx, wasm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close(ctx)
	code := compile(t)
	s := modelSchema("sandboxed")
	h := &Host{DB: db, ctx: ctx}
	c := cases{Host: h}

	d := load(t, host, code, db)
	p, err := d.Plan(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	write := func(changes ...change) error {
		whole := build(s, changes)
		defer whole.Release()
		b := batch.Compact(whole)
		defer b.Release()
		return d.Write(ctx, p, b)
	}
	at := "1:0/10"
	if err := errors.Join(write(insert(1, "a"), insert(2, "b")), d.Commit(ctx, []wasm.Checkpoint{{Key: "position", Value: &at}})); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(ctx, "DROP TABLE "+p.Table); err != nil {
		t.Fatal(err)
	}
	var failure *capability.Error
	if err := write(insert(3, "c")); !errors.As(err, &failure) || failure.Class != capability.Schema {
		t.Errorf("a vanished table: %v, want an error of class schema", err)
	}
	if err := errors.Join(d.Rollback(ctx), d.Close(ctx)); err != nil {
		t.Fatal(err)
	}

	d = load(t, host, code, db)
	defer d.Close(ctx)
	found, err := d.Checkpoint(ctx)
	if err != nil || len(found) != 1 || *found[0].Value != at {
		t.Errorf("checkpoint %v, %v", found, err)
	}
	if p, err = d.Plan(ctx, s); err != nil {
		t.Fatal(err)
	}
	if err := write(insert(3, "c")); !errors.As(err, &failure) || failure.Class != capability.Schema || !strings.Contains(failure.Message, "leat objects restart") {
		t.Errorf("a vanished table for the next run: %v, want its refusal", err)
	}
	err = errors.Join(
		d.Rollback(ctx),
		write(change{kind: 'T'}),
		write(insert(1, "a"), insert(2, "b"), insert(4, "d")),
		write(change{kind: 'U', id: 1, name: text("new"), bigAbsent: true}, change{kind: 'M', from: 2, id: 3, name: text("moved"), bigAbsent: true}, change{kind: 'D', id: 4}),
		write(insert(4, "back"), insert(5, "e")), // 4 is there, marked as deleted
		d.Commit(ctx, nil))
	if err != nil {
		t.Fatal(err)
	}
	c.want(t, p.Read+" ORDER BY id", "1 new big\n3 moved big\n4 back big\n5 e big")
}

// load opens the guest with the manifest and the default settings.
func load(t *testing.T, host *wasm.Host, code []byte, db capability.SQL) *wasm.Destination {
	t.Helper()
	ctx := context.Background()
	d, err := host.Destination(ctx, code, wasm.Plugin{Name: "guest", Version: "0.1.0", Config: json.RawMessage(`{}`)}, db)
	if err != nil {
		t.Fatal(err)
	}
	info, err := d.Open(ctx, wasm.OpenInput{Pipeline: "shop"})
	if err != nil || !info.Compacts || strings.TrimSpace(info.Driver) == "" {
		t.Fatalf("open: %+v, %v", info, err)
	}
	return d
}
