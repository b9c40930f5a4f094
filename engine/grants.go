package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// grantsOf is what the pipeline file grants to a plugin, ready to be used but
// for the keys and values, which wait for the state folder.
func grantsOf(g spec.Grants, b *bundle.Bundle) (out wasm.Grants, err error) {
	out = wasm.Grants{Clock: g.Clock, Random: g.Random}
	fail := func(err error) (wasm.Grants, error) {
		return wasm.Grants{}, &PluginError{b.Manifest.Name, fmt.Errorf("grants of plugin %s: %w", b.Manifest.Name, err)}
	}
	if len(g.HTTP.Hosts) > 0 {
		if out.HTTP, err = capability.NewHTTP(capability.HTTPPolicy{Hosts: g.HTTP.Hosts, Timeout: g.HTTP.Timeout, MaxBytes: int64(g.HTTP.MaxBytes)}); err != nil {
			return fail(err)
		}
	}
	if g.Blob != "" {
		if out.Blob, err = newBlob(g.Blob, g); err != nil {
			return fail(err)
		}
	}
	if g.KV > 0 {
		out.KV = &pluginKV{plugin: b.Manifest.Ref().ID(), quota: int64(g.KV)}
	}
	return out, nil
}

func newBlob(dir string, g spec.Grants) (*capability.Blob, error) {
	return capability.NewBlob(dir, capability.BlobUse{Bytes: int64(g.BlobBytes), Files: g.BlobFiles})
}

// apart are the grants of a candidate, what it makes is to be thrown away: what
// it keeps does not touch what the live plugin keeps. g are those that it gets
// when it is promoted.
func apart(g wasm.Grants, granted spec.Grants, b *bundle.Bundle) (_ wasm.Grants, err error) {
	if kv, ok := g.KV.(*pluginKV); ok {
		g.KV = &pluginKV{plugin: b.Manifest.Ref().String() + " (shadow)", quota: kv.quota}
	}
	if g.Blob != nil {
		g.Blob, err = newBlob(granted.Blob+".shadow", granted)
	}
	return g, err
}

// forTrial is a plugin whose calls are taken back: what it keeps is gone with it.
func forTrial(p wasm.Plugin) wasm.Plugin {
	if p.Grants.KV != nil {
		p.Grants.KV = capability.NewMemoryKV()
	}
	if p.Grants.Blob != nil {
		p.Grants.Blob = capability.NewMemoryFiles()
	}
	return p
}

// keep gives the plugins that were granted kv the state folder.
func (p *plugins) keep(s *state.Store) {
	for _, t := range p.transforms {
		t.loaded.keep(s)
		if t.shadow != nil {
			t.shadow.loaded.keep(s)
		}
	}
	p.target.keep(s)
}

func (p loadedPlugin) keep(s *state.Store) {
	if kv, ok := p.plugin.Grants.KV.(*pluginKV); ok {
		kv.store.Store(s)
	}
}

// pluginKV is the space of a plugin in the state folder.
type pluginKV struct {
	plugin string
	quota  int64
	store  atomic.Pointer[state.Store] // nil until the folder is open
}

func (k *pluginKV) open() (*state.Store, error) {
	if s := k.store.Load(); s != nil {
		return s, nil
	}
	return nil, &capability.Error{Class: capability.Permission, Message: "the state folder is not open: keys and values are there while a pipeline runs"}
}

// Get implements capability.KV.
func (k *pluginKV) Get(_ context.Context, key string) ([]byte, error) {
	s, err := k.open()
	if err != nil {
		return nil, err
	}
	value, err := s.KVGet(k.plugin, []byte(key))
	if errors.Is(err, state.ErrNotFound) {
		return nil, nil
	}
	return value, err
}

// Put implements capability.KV.
func (k *pluginKV) Put(_ context.Context, key string, value []byte) error {
	s, err := k.open()
	if err != nil {
		return err
	}
	err = s.KVPutWithin(k.plugin, []byte(key), value, k.quota)
	var quota *state.QuotaError
	if errors.As(err, &quota) {
		return &capability.Error{Class: capability.Resource, Message: quota.Error(), Hint: "raise kv of the plugin's grants"}
	}
	return err
}

// Delete implements capability.KV.
func (k *pluginKV) Delete(_ context.Context, key string) error {
	s, err := k.open()
	if err != nil {
		return err
	}
	return s.KVDelete(k.plugin, []byte(key))
}

// List implements capability.KV.
func (k *pluginKV) List(_ context.Context, prefix string, limit int) ([]string, error) {
	s, err := k.open()
	if err != nil {
		return nil, err
	}
	pairs, err := s.KVList(k.plugin, []byte(prefix), limit)
	keys := make([]string, len(pairs))
	for i, p := range pairs {
		keys[i] = string(p.Key)
	}
	return keys, err
}
