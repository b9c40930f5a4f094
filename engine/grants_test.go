package engine

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// TestKeysAndValuesOfAPlugin keeps them in a real state folder: within the quota
// of the grant, apart from those of other plugins, and beyond the end of a run.
func TestKeysAndValuesOfAPlugin(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	grant := func(name string) loadedPlugin {
		b := &bundle.Bundle{Manifest: bundle.Manifest{Publisher: "acme", Name: name, Version: "1.0.0"}}
		g, err := grantsOf(spec.Grants{KV: 1000}, b)
		if err != nil {
			t.Fatal(err)
		}
		p := loadedPlugin{Bundle: b}
		p.plugin.Grants = g
		return p
	}
	one, two := grant("one"), grant("two")
	var e *capability.Error
	if err := one.plugin.Grants.KV.Put(ctx, "k", nil); !errors.As(err, &e) || e.Class != capability.Permission {
		t.Errorf("before the folder is open: %v", err)
	}
	open := func() *state.Store {
		s, err := state.Open(dir, state.Options{Pipeline: "p"})
		if err != nil {
			t.Fatal(err)
		}
		one.keep(s)
		two.keep(s)
		return s
	}
	s := open()
	for _, p := range []loadedPlugin{one, two} {
		if err := p.plugin.Grants.KV.Put(ctx, "k", []byte(p.Manifest.Name+strings.Repeat(".", 900))); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.plugin.Grants.KV.Put(ctx, "more", make([]byte, 200)); !errors.As(err, &e) || e.Class != capability.Resource || !strings.Contains(e.Message, "quota of 1000") {
		t.Errorf("beyond the quota: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	defer open().Close()
	for _, p := range []loadedPlugin{one, two} {
		kv := p.plugin.Grants.KV
		if v, err := kv.Get(ctx, "k"); err != nil || !strings.HasPrefix(string(v), p.Manifest.Name) {
			t.Errorf("%s has %q, %v", p.Manifest.Name, v, err)
		}
		if v, err := kv.Get(ctx, "none"); v != nil || err != nil {
			t.Errorf("nothing is %q, %v", v, err)
		}
		if keys, err := kv.List(ctx, "", 10); err != nil || len(keys) != 1 {
			t.Errorf("keys are %v, %v", keys, err)
		}
		if err := kv.Delete(ctx, "k"); err != nil {
			t.Error(err)
		}
	}
}

func TestGrantsAreChecked(t *testing.T) {
	b := &bundle.Bundle{Manifest: bundle.Manifest{Name: "one", Version: "1.0.0"}}
	var e *PluginError
	if _, err := grantsOf(spec.Grants{HTTP: spec.HTTPGrant{Hosts: []string{"a/b"}}}, b); !errors.As(err, &e) || !strings.Contains(err.Error(), `grants of plugin one: "a/b" is neither a host`) {
		t.Errorf("a path as host: %v", err)
	}
	if _, err := grantsOf(spec.Grants{Blob: "\x00", BlobBytes: 1, BlobFiles: 1}, b); !errors.As(err, &e) {
		t.Errorf("a folder that cannot be: %v", err)
	}
	if g, err := grantsOf(spec.Grants{}, b); err != nil || g.HTTP != nil || g.KV != nil || g.Blob != nil || g.Clock || g.Random {
		t.Errorf("no grants are %+v, %v", g, err)
	}
}

// TestACandidateKeepsApart: what it makes is thrown away, what it keeps must
// not reach the live plugin either.
func TestACandidateKeepsApart(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, err := state.Open(dir, state.Options{Pipeline: "p"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := &bundle.Bundle{Manifest: bundle.Manifest{Publisher: "acme", Name: "one", Version: "1.0.0"}}
	granted := spec.Grants{KV: 1000, Blob: filepath.Join(dir, "files"), BlobBytes: 1000, BlobFiles: 10, Clock: true}
	live, err := grantsOf(granted, b)
	if err != nil {
		t.Fatal(err)
	}
	candidate, err := apart(live, granted, b)
	if err != nil || !candidate.Clock {
		t.Fatalf("%+v, %v", candidate, err)
	}
	for _, g := range []wasm.Grants{live, candidate} {
		p := loadedPlugin{}
		p.plugin.Grants = g
		p.keep(s)
	}
	if err := errors.Join(candidate.KV.Put(ctx, "k", []byte("v")), candidate.Blob.Put("k", []byte("v"))); err != nil {
		t.Fatal(err)
	}
	value, err := live.KV.Get(ctx, "k")
	file, blobErr := live.Blob.Get("k")
	if value != nil || file != nil || err != nil || blobErr != nil {
		t.Errorf("the live plugin finds %q and %q, %v %v", value, file, err, blobErr)
	}
	if value, err := candidate.KV.Get(ctx, "k"); string(value) != "v" || err != nil {
		t.Errorf("the candidate finds %q, %v", value, err)
	}
}
