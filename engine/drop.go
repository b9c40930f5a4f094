package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// Drop takes back what a pipeline has made at its source.

// Made is what a pipeline has made in a source database.
type Made struct {
	Database string `json:"database"`
	// Slot is nil where there is none.
	Slot         *postgres.Slot             `json:"slot,omitempty"`
	Publications []postgres.MadePublication `json:"publications"`
	// Capture: DDL capture is installed, for all pipelines of the database.
	Capture bool `json:"ddl_capture"`

	gone bool // the database was dropped as a whole
}

// Droppable says whether there is a slot or a publication that Drop drops.
func (m *Made) Droppable() bool {
	return m.Slot != nil || slices.ContainsFunc(m.Publications, func(p postgres.MadePublication) bool { return p.Kept == "" })
}

// FindMade looks for what a pipeline that does not run has made in databases: none
// are all of its file, and those that were in its file before.
func FindMade(ctx context.Context, s *spec.Spec, stateDir string, databases []string) ([]Made, error) {
	records, objects, err := noted(s, stateDir)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(Databases(s))
	know := func(database string) {
		if !slices.Contains(all, database) {
			all = append(all, database)
		}
	}
	for _, r := range records {
		know(r.Database)
	}
	for _, o := range objects { // of a pipeline that queries there is nothing else
		know(o.Table.Database)
	}
	for _, one := range databases {
		if !slices.Contains(all, one) {
			return nil, &RequestError{fmt.Sprintf("pipeline %q has no database %q", s.Name, one), "it has " + strings.Join(all, ", ")}
		}
	}
	cfg, err := SourceConfig(s)
	if err != nil {
		return nil, err
	}
	var out []Made
	for _, database := range all {
		if len(databases) > 0 && !slices.Contains(databases, database) {
			continue
		}
		m := Made{Database: database}
		slot, publication := names(s, database)
		if i := slices.IndexFunc(records, func(r state.Source) bool { return r.Database == database && r.Slot != "" }); i >= 0 {
			slot, publication = records[i].Slot, records[i].Publication
		}
		err := withSource(ctx, cfg, database, func(source *postgres.Source) error {
			return m.find(ctx, source, slot, publication)
		})
		var gone *postgres.Error
		if errors.As(err, &gone) && gone.Code == postgres.CodeNoDatabase && !slices.Contains(Databases(s), database) {
			m.gone, err = true, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func (m *Made) find(ctx context.Context, source *postgres.Source, slot, publication string) (err error) {
	if m.Slot, err = source.Slot(ctx, slot); err != nil {
		return err
	}
	if m.Publications, err = source.MadePublications(ctx, publication); err != nil {
		return err
	}
	capture, err := source.CaptureState(ctx)
	m.Capture = capture.Version > 0
	return err
}

// Drop drops the slot and the publications that it may, and if capture says so DDL
// capture. The next run finds a gap: what is at the destination stays there.
func (m *Made) Drop(ctx context.Context, s *spec.Spec, stateDir string, capture bool) error {
	if m.gone {
		return forgetSource(s, stateDir, m.Database)
	}
	cfg, err := SourceConfig(s)
	if err != nil {
		return err
	}
	err = withSource(ctx, cfg, m.Database, func(source *postgres.Source) error {
		if m.Slot != nil { // first: it fails where the pipeline runs on another machine
			if err := source.DropSlot(ctx, m.Slot.Name); err != nil {
				return err
			}
		}
		for _, p := range m.Publications {
			if p.Kept == "" {
				if err := source.DropPublication(ctx, p.Name); err != nil {
					return err
				}
			}
		}
		if capture && m.Capture {
			return source.RemoveCapture(ctx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return forgetSource(s, stateDir, m.Database)
}

// sourceRecords are those of the state folder, none where there is no folder.
func sourceRecords(s *spec.Spec, stateDir string) ([]state.Source, error) {
	records, _, err := noted(s, stateDir)
	return records, err
}

// noted is what the state folder of a pipeline that does not run has of its
// databases and tables, nothing where there is no folder.
func noted(s *spec.Spec, stateDir string) (records []state.Source, objects []state.Object, err error) {
	store, err := state.OpenReadOnly(StateDir(s, stateDir), state.Options{Pipeline: s.Name})
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	records, err = store.Sources()
	if err == nil {
		objects, err = store.Objects()
	}
	return records, objects, errors.Join(err, store.Close())
}

// forgetSource lets the state folder know of no slot of a database.
func forgetSource(s *spec.Spec, stateDir, database string) error {
	records, err := sourceRecords(s, stateDir)
	if err != nil || !slices.ContainsFunc(records, func(r state.Source) bool { return r.Database == database }) {
		return err
	}
	store, err := state.Open(StateDir(s, stateDir), state.Options{Pipeline: s.Name})
	if err != nil {
		return err
	}
	return errors.Join(store.Update(func(tx *state.Tx) error { return giveUp(tx, s, database) }), store.Close())
}

// sayLeft names the databases that were in the pipeline file before: their slots
// keep log at the source for ever, and their tables are not followed.
func (p *Pipeline) sayLeft() error {
	records, err := p.store.Sources()
	for _, r := range records {
		if r.Slot != "" && !slices.Contains(Databases(p.Spec), r.Database) {
			p.log.Warn("a database is no longer in the pipeline file, and its slot keeps log at the source",
				"database", r.Database, "slot", r.Slot, "fix", fmt.Sprintf("leat drop %s %s, while the pipeline is stopped, drops the slot, and with --rows takes its rows out of merged tables", p.Spec.Path, r.Database))
		}
	}
	return errors.Join(err, p.noteElsewhere())
}
