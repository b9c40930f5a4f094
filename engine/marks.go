package engine

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/spec"
)

// Rows at the destination stay as the transforms made them that were there when
// they came. A shape therefore notes by which chain its rows were made.

// noTransforms is the chain of a table that no transform works on.
const noTransforms = "no transform"

// markOf is a text that changes with the code of a transform and its settings.
// Secrets count as where they come from, not as what they are.
func markOf(t *spec.Transform, loaded loadedPlugin) (string, error) {
	config, err := t.ConfigJSON(false)
	if err != nil {
		return "", fmt.Errorf("settings of plugin %s: %w", t.Plugin, err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%q", loaded.Digest, config, t.Columns))
	return fmt.Sprintf("%s:%x", loaded.Manifest.Name, sum[:4]), nil
}

// chainOf names the transforms of a source table.
func (p *plugins) chainOf(t batch.TableID) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var marks []string
	for i := range p.transforms {
		if p.transforms[i].match(t) {
			marks = append(marks, p.transforms[i].mark)
		}
	}
	if len(marks) == 0 {
		return noTransforms
	}
	return strings.Join(marks, ", ")
}

// lookAtChain compares the chain that made the rows of a table with the one
// that is there now. With --restart-changed the table is loaded again.
func (l *lane) lookAtChain(noted shape) {
	now := l.p.plugins.chainOf(noted.Table)
	switch {
	case noted.Chain == now:
	case noted.Chain == "": // noted by an earlier release
		l.shapes.update(noted.OID, func(s *shape) { s.Chain = now })
	case l.restartChanged && noted.Due == 0:
		l.shapes.update(noted.OID, func(s *shape) {
			s.Chain, s.Due, s.Empty, s.Why = now, 1, true, "its transforms have changed"
		})
	case !l.warned[noted.OID]:
		if l.warned == nil {
			l.warned = map[uint32]bool{}
		}
		l.warned[noted.OID] = true
		l.log.Warn("the transforms of a table have changed: rows that are at the destination stay as the earlier ones made them", "table", noted.Table.String(),
			"were", noted.Chain, "are", now, "fix", fmt.Sprintf("leat objects restart %s %s.%s, or leat run --restart-changed, loads the table again", l.p.Spec.Path, noted.Table.Schema, noted.Table.Name))
	}
}

// chains are those that made the rows at the destination, by source table.
func (own *ownChain) chains(ctx context.Context) (map[batch.TableID]string, error) {
	entries, err := own.destination.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	out := map[batch.TableID]string{}
	for _, e := range entries {
		var noted shape
		if e.Value == nil || !strings.HasPrefix(e.Key, shapePrefix) {
			continue
		}
		if err := json.Unmarshal([]byte(*e.Value), &noted); err != nil {
			return nil, fmt.Errorf("checkpoint %q at the destination: %w", e.Key, err)
		}
		if !noted.Ousted {
			out[noted.Table] = noted.Chain
		}
	}
	return out, nil
}
