package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/capsule"
	"github.com/leat-etl/leat/state"
)

// Capsule returns the call in which a transform refused the row of a failed
// event, made again with the plugins of the pipeline. mask replaces the values
// in it.
func (p *Pipeline) Capsule(ctx context.Context, id string, mask bool) (*capsule.Capsule, error) {
	f, err := p.failedEvent(id)
	if err != nil {
		return nil, err
	}
	b, err := p.rowOf(f)
	if err != nil {
		return nil, err
	}
	defer b.Release()
	p.applier.holder.Lock()
	defer p.applier.holder.Unlock()
	if err := p.applier.open(ctx); err != nil {
		return nil, err
	}
	chain := p.applier.chain
	root, err := chain.plan(ctx, b.Schema)
	if err != nil {
		return nil, err
	}
	delete(chain.roots, b.Schema) // this schema comes only once
	shaped, _, err := root.values.apply(b)
	if err != nil {
		return nil, err
	}
	s, reached, err := root.refusing(ctx, shaped, f.Digest)
	if err != nil {
		return nil, fmt.Errorf("failed event %s: the row does not reach plugin %s (%s) in the pipeline as it is now, one that stands there fails before: leat failed replay tries the row with it, then its call can be saved: %w", id, f.Plugin, f.Digest, err)
	}
	if s == nil {
		return nil, fmt.Errorf("failed event %s: the row does not reach plugin %s (%s) in the pipeline as it is now: its call can be saved with that version in the pipeline file; leat failed replay tries the row with what is there", id, f.Plugin, f.Digest)
	}
	defer reached.Release()
	return s.capsule(ctx, reached, mask)
}

// rowOf returns the source's row of an event that a transform refused.
func (p *Pipeline) rowOf(f state.Failed) (*batch.Batch, error) {
	switch {
	case f.WaitsBehind != "":
		return nil, fmt.Errorf("failed event %s only waits behind %s: make the capsule of that one", f.ID, f.WaitsBehind)
	case f.Digest == p.plugins.target.Digest:
		return nil, fmt.Errorf("failed event %s was refused by the destination: a capsule holds a call of a transform", f.ID)
	case f.Plugin == "" || f.Size > 0 || len(f.Payload) == 0 || f.Payload[0] == '{':
		return nil, fmt.Errorf("failed event %s was not refused by a plugin: %s", f.ID, f.Reason)
	}
	b, err := batch.Unmarshal(f.Payload)
	if err != nil {
		return nil, fmt.Errorf("failed event %s: %w", f.ID, err)
	}
	return b, nil
}

// refusing follows b, whose reference it takes over, to the step of the plugin
// with a digest. It returns nil where the rows do not get there.
func (s *step) refusing(ctx context.Context, b *batch.Batch, digest string) (*step, *batch.Batch, error) {
	if s.target != nil {
		b.Release()
		return nil, nil, nil
	}
	if s.transform.loaded.Digest == digest {
		return s, b, nil
	}
	defer b.Release()
	result, err := s.transform.plugin.Process(ctx, s.plan, b)
	if err != nil {
		return nil, nil, err
	}
	for i, out := range result.Batches {
		found, reached, err := s.nextOf(out.Schema).refusing(ctx, out, digest)
		if err != nil || found != nil {
			for _, rest := range result.Batches[i+1:] {
				rest.Release()
			}
			return found, reached, err
		}
	}
	return nil, nil, nil
}

// capsule makes the call of a step with b again and keeps it.
func (s *step) capsule(ctx context.Context, b *batch.Batch, mask bool) (*capsule.Capsule, error) {
	t := s.transform
	declared := slices.Clone(s.plan.Sees)
	for _, k := range s.plan.Kernels {
		declared = append(declared, k.Columns...)
	}
	c, err := capsule.New(capsule.Call{Plugin: t.loaded.plugin, Config: t.loaded.public, Asked: s.asked, Declared: declared, Batch: b}, mask)
	if err != nil {
		return nil, err
	}
	c.Outcome, err = c.Replay(ctx, t.plugin)
	return c, err
}

// keptCapsules bounds how many capsules the state folder keeps.
const keptCapsules = 10

// capsuleKeeper writes the calls that stopped the pipeline to its state folder.
type capsuleKeeper struct {
	dir  string
	mask bool
	log  *slog.Logger
}

// keep writes the capsule of a call that failed for good.
func (k *capsuleKeeper) keep(ctx context.Context, s *step, b *batch.Batch) {
	path, err := k.write(ctx, s, b)
	if err != nil {
		k.log.Warn("the call that failed could not be kept", "plugin", s.transform.loaded.identity(), "error", err)
		return
	}
	k.log.Warn("the call that failed is kept: leat plugin test capsule makes it again", "plugin", s.transform.loaded.identity(), "capsule", path)
}

func (k *capsuleKeeper) write(ctx context.Context, s *step, b *batch.Batch) (string, error) {
	c, err := s.capsule(context.WithoutCancel(ctx), b, k.mask)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return "", fmt.Errorf("make folder for capsules: %w", err)
	}
	name := fmt.Sprintf("%s-%s-%016X.capsule", c.Made.Format("20060102T150405"), c.Plugin, b.LSN[b.Len()-1])
	path := filepath.Join(k.dir, name)
	return path, errors.Join(c.Write(path), k.prune())
}

// prune removes the oldest beyond keptCapsules.
func (k *capsuleKeeper) prune() error {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !strings.HasSuffix(e.Name(), ".capsule") })
	for i := 0; i < len(entries)-keptCapsules; i++ {
		err = errors.Join(err, os.Remove(filepath.Join(k.dir, entries[i].Name())))
	}
	return err
}
