package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/state"
)

// A table on which a plugin fails as a whole is paused by itself: the others go
// on. A transform has no plan for it, breaks its contract, or fails or meets its
// limits on more rows than can be set aside one by one; a destination refuses the
// table, finds its target changed, or fails on it by itself. The delivery is
// taken back, and the session that follows diverts the table (see diversion), so
// that its log waits in a spool of its own; a load that has begun waits as an
// interrupted one does. Nothing of the table is lost.
//
// It is tried again when an operator resumes it, when a plugin of the pipeline
// is swapped, and by the next process.

// forPlugin is the Reason of a table on which a plugin fails.
const forPlugin = "plugin"

// PluginFailure says that a plugin fails on a table, not on single rows of it.
type PluginFailure struct {
	Table batch.TableID
	oid   uint32
	err   error
}

// Error implements error.
func (e *PluginFailure) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *PluginFailure) Unwrap() error { return e.err }

// Hint is what an operator can do.
func (e *PluginFailure) Hint() string {
	return e.toMend() + ", and run again; where the pipeline runs, leat objects resume tries the table again"
}

func (e *PluginFailure) toMend() string {
	var database *capability.Error
	if errors.As(e.err, &database) {
		return "mend the table, or what it lands in at the destination"
	}
	return "mend the plugin, its config or its limits in the pipeline file"
}

// pluginFailure marks what a transform did on batches of a source table. What
// may pass by itself, such as a service that the plugin asks, stays as it is.
func pluginFailure(source *batch.Schema, err error) error {
	var plugin *wasm.Error
	if !errors.As(err, &plugin) || actionFor(err) == retry {
		return err
	}
	return &PluginFailure{source.Table, source.OID, err}
}

// destinationFailure marks what the destination did on one table. What its
// database said of more than the table stays as it is.
func destinationFailure(source *batch.Schema, err error) error {
	var database *capability.Error
	if errors.As(err, &database) && database.Class != capability.Schema {
		return err
	}
	return pluginFailure(source, err)
}

// metLimit returns what a plugin ran out of, empty if it is nothing that a call
// is limited in.
func metLimit(err error) wasm.Kind {
	var plugin *wasm.Error
	if errors.As(err, &plugin) && (plugin.Kind == wasm.KindFuel || plugin.Kind == wasm.KindDeadline || plugin.Kind == wasm.KindMemory) {
		return plugin.Kind
	}
	return ""
}

// pause takes note of a table on which a plugin has failed, and returns its
// OID. Any other error it returns.
func (l *lane) pause(err error) (oid uint32, _ error) {
	var f *PluginFailure
	if !errors.As(err, &f) {
		return 0, err
	}
	if at := slices.IndexFunc(l.tables, func(t *postgres.Table) bool { return t.OID == f.oid }); at >= 0 {
		f = &PluginFailure{l.tables[at].ID(), f.oid, f.err} // it may have another name by now
	}
	id := f.Table
	l.mu.Lock()
	_, known := l.failing[f.oid]
	l.failing[f.oid] = f
	l.mu.Unlock()
	if known {
		return f.oid, nil
	}
	fix := fmt.Sprintf("%s, then leat objects resume %s %s.%s; it is also tried again at the next start", f.toMend(), l.p.Spec.Path, id.Schema, id.Name)
	l.log.Error("a plugin fails on a table: the table is paused and what comes of it waits, others go on", "table", id.String(), "error", f.err, "fix", fix)
	return f.oid, l.p.store.ChangeObject(id, func(o *state.Object) {
		if o.Choice != state.Skip && o.Choice != state.Pause {
			o.State, o.Reason, o.Fix = state.Paused, f.Error(), fix
		}
	})
}

// pauseAnew pauses the table on which a plugin has failed and ends the session,
// so that the next one diverts it.
func (l *lane) pauseAnew(err error) error {
	if _, err := l.pause(err); err != nil {
		return err
	}
	return errAnew
}

// fails says whether a plugin fails on a table.
func (l *lane) fails(oid uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failing[oid] != nil
}

// tryAgain forgets that plugins have failed on tables which are not paused for
// it any more.
func (l *lane) tryAgain() error {
	records, err := l.objectRecords()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for oid, f := range l.failing {
		if record := records[f.Table]; !pausedByPlugin(&record) {
			delete(l.failing, oid)
		}
	}
	return nil
}

// pausedByPlugin says whether an object is paused without an operator's choice.
func pausedByPlugin(o *state.Object) bool {
	return o.State == state.Paused && o.Choice != state.Pause
}

func tryPluginAgain(o *state.Object) {
	o.State, o.Reason, o.Fix = state.Queued, "its plugin is tried again", ""
}

// retryPlugins lets the tables on which a plugin has failed be tried again.
func (p *Pipeline) retryPlugins() error {
	err := p.store.Update(func(tx *state.Tx) error {
		objects, err := tx.Objects()
		if err != nil {
			return err
		}
		for _, o := range objects {
			if !pausedByPlugin(&o) {
				continue
			}
			if err := tx.ChangeObject(o.Table, tryPluginAgain); err != nil {
				return err
			}
		}
		return nil
	})
	for _, l := range p.lanes {
		l.reconsider()
	}
	return err
}

// failures are the tables on which plugins fail, as the run's error.
func (l *lane) failures() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []error
	for _, f := range l.failing {
		all = append(all, &objectError{f.Table, fmt.Errorf("paused, what comes of it waits: %w", f)})
	}
	slices.SortFunc(all, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(all...)
}
