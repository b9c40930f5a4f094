package wasm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A plugin whose plans the host carries out by itself is not loaded again, and
// does the same; every other plugin is, and nothing that is damaged is used.
func TestPlansOfAnotherRun(t *testing.T) {
	ctx := context.Background()
	hashes := kernelPlan(`{"kernel": "hash", "inputs": [{"column": 1}]}`, "u", "")
	// run starts a host of its own and tells how many instances it took to
	// plan, and how many calls.
	run := func(t *testing.T, dir string, c code, p Plugin) (instances, calls uint64) {
		t.Helper()
		h, err := NewHost(ctx, Config{CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close(ctx)
		p.Name, p.Version = "mask", "1.0.0"
		tr, err := h.Transform(ctx, c.bytes(), p)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close(ctx)
		plan := mustPlan(t, tr, PlanInput{Schema: customers("d")})
		s := tr.Stats()
		out, err := tr.Process(ctx, plan, twoRows())
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Batches) != 1 || out.Batches[0].Len() != 2 {
			t.Error("rows:", out.Batches)
		}
		for _, b := range out.Batches {
			b.Release()
		}
		return s.Instances, s.Calls
	}
	file := func(t *testing.T, dir string) string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, "plans-*"))
		if err != nil || len(found) != 1 {
			t.Fatal("files of plans:", found, err)
		}
		return found[0]
	}
	wantInstances := func(t *testing.T, step, dir string, want uint64, c code, p Plugin) {
		t.Helper()
		if got, _ := run(t, dir, c, p); got != want {
			t.Errorf("%s: %d instances, want %d", step, got, want)
		}
	}

	t.Run("host alone", func(t *testing.T) {
		dir := t.TempDir()
		wantInstances(t, "first", dir, 1, withReply(hashes), Plugin{})
		wantInstances(t, "second", dir, 0, withReply(hashes), Plugin{})
		wantInstances(t, "other settings", dir, 1, withReply(hashes), Plugin{Config: []byte(`{"a": 1}`)})
		wantInstances(t, "other limits", dir, 1, withReply(hashes), Plugin{Limits: Limits{Fuel: 1_000_000}})
	})
	t.Run("withheld since", func(t *testing.T) {
		dir := t.TempDir()
		run(t, dir, withReply(hashes), Plugin{})
		h, err := NewHost(ctx, Config{CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close(ctx)
		tr, err := h.Transform(ctx, withReply(hashes).bytes(), Plugin{Name: "mask", Version: "1.0.0", Columns: []string{"id"}})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close(ctx)
		_, err = tr.Plan(ctx, PlanInput{Schema: customers("d")})
		wantError(t, err, KindContract, `which the pipeline does not grant`)
	})
	t.Run("guest", func(t *testing.T) {
		dir := t.TempDir()
		run(t, dir, good(computes), Plugin{})
		instances, calls := run(t, dir, good(computes), Plugin{})
		if instances != 1 || calls != 1 { // leat_abi_version
			t.Errorf("%d instances and %d calls until the plan, want a warm instance and no plan", instances, calls)
		}
	})
	t.Run("another reply", func(t *testing.T) {
		dir, other := t.TempDir(), t.TempDir()
		run(t, dir, good(computes), Plugin{})
		c := good(strings.Replace(computes, `"x"`, `"y"`, 1))
		run(t, other, c, Plugin{})
		text, err := os.ReadFile(file(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file(t, other), text, 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := NewHost(ctx, Config{CacheDir: other})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close(ctx)
		tr, err := h.Transform(ctx, c.bytes(), Plugin{Name: "mask", Version: "1.0.0"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = tr.Process(ctx, mustPlan(t, tr, PlanInput{Schema: customers("d")}), twoRows())
		wantError(t, err, KindContract, "differently from the same request")
	})
	t.Run("says something", func(t *testing.T) {
		dir := t.TempDir()
		c := withReply(hashes)
		c.imports = [][2]string{{"leat", "log"}}
		c.plan = slices.Concat(i32const(1), i32const(0), i32const(0), []byte{0x10, 0}, c.plan)
		wantInstances(t, "first", dir, 1, c, Plugin{})
		wantInstances(t, "second", dir, 1, c, Plugin{})
	})
	t.Run("private", func(t *testing.T) {
		dir := t.TempDir()
		private := Plugin{Private: true, Config: []byte(`{"salt": "hunter2"}`)}
		wantInstances(t, "first", dir, 1, withReply(hashes), private)
		wantInstances(t, "second", dir, 1, withReply(hashes), private)
		if found, _ := filepath.Glob(filepath.Join(dir, "plans-*")); len(found) > 0 {
			t.Error("kept:", found)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		dir := t.TempDir()
		run(t, dir, withReply(hashes), Plugin{})
		path := file(t, dir)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, damage := range map[string]string{
			"cut": string(text[:len(text)-9]), "empty": "", "another sum": strings.Replace(string(text), `"native":true`, `"native":false`, 1),
			"no request": "\n" + sumOf(`{"request":"AA==","reply":"AA==","native":true}`) + ` {"request":"AA==","reply":"AA==","native":true}` + "\n",
		} {
			if err := os.WriteFile(path, []byte(damage), 0o600); err != nil {
				t.Fatal(err)
			}
			wantInstances(t, name, dir, 1, withReply(hashes), Plugin{})
			wantInstances(t, name+", mended", dir, 0, withReply(hashes), Plugin{})
		}
	})
	t.Run("full", func(t *testing.T) {
		dir := t.TempDir()
		h, err := NewHost(ctx, Config{CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close(ctx)
		p := &Plan{Native: true, reply: []byte(strings.Repeat("x", maxRememberedReply))}
		m := &module{host: h, plugin: Plugin{Digest: "sha256:00"}}
		known := m.remember(false)
		for i := range 40 {
			if err := known.add(fmt.Append(nil, i), p); err != nil {
				t.Fatal(err)
			}
		}
		again := m.remember(false)
		if s, err := os.Stat(known.path); err != nil || s.Size() > maxRemembered || again.reply([]byte("39")) == nil || again.reply([]byte("0")) != nil {
			t.Errorf("%d bytes (%v), the last reply is kept: %t", s.Size(), err, again.reply([]byte("39")) != nil)
		}
	})
}
