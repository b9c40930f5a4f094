package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
	"github.com/leat-etl/leat/state/spool"
)

// Databases that have left the pipeline file: their rows stay in tables that they
// shared with others, until somebody takes them out.

// DepartedRows are rows of a merged table whose database has left the pipeline
// file, or whose table in it is not compared: nothing is at the source to compare
// them with.
type DepartedRows struct {
	Database string `json:"database"`
	Rows     int64  `json:"rows"`
	Reason   string `json:"reason"`
}

// departed are the databases of the destination's checkpoint that are not in the
// pipeline file.
func (c *checkpointEntries) departed(s *spec.Spec) map[string]bool {
	out := map[string]bool{}
	for _, kind := range []string{"position", "query"} {
		for _, key := range c.keys(kind + "/") {
			name := unescapeKey.Replace(strings.Split(key, "/")[1])
			if !slices.Contains(Databases(s), name) {
				out[name] = true
			}
		}
	}
	return out
}

// sieve counts the rows of databases of which nothing is compared in a table, and
// passes on the others. They cannot be told in a table whose rows do not name their
// database.
type sieve struct {
	column int
	rows   map[string]*DepartedRows // by database
}

func (v *verifier) sieve(t *verified) (*sieve, error) {
	s := &sieve{column: databaseColumn(t.schema), rows: map[string]*DepartedRows{}}
	for database := range v.departed {
		s.rows[database] = &DepartedRows{Database: database,
			Reason: fmt.Sprintf("it is not in the pipeline file any more. They may stay, or leat drop %s %s --rows takes them out", v.p.Spec.Path, database)}
	}
	sources := t.sources()
	for _, database := range Databases(v.p.Spec) {
		if slices.ContainsFunc(sources, func(id batch.TableID) bool { return id.Database == database }) {
			continue
		}
		reason, err := v.absence(database, sources)
		if err != nil {
			return nil, err
		}
		s.rows[database] = &DepartedRows{Database: database, Reason: reason}
	}
	return s, nil
}

// absence is why nothing of a database is compared with rows that sources of others
// share a table with.
func (v *verifier) absence(database string, sources []batch.TableID) (string, error) {
	if slices.Contains(v.away, database) {
		return "it takes no connection", nil
	}
	for _, other := range sources {
		id := batch.TableID{Database: database, Schema: other.Schema, Name: other.Name}
		if at := slices.IndexFunc(v.left, func(l LeftOut) bool { return l.Table == id }); at >= 0 {
			return fmt.Sprintf("%s is not, %s", id, v.left[at].Reason), nil
		}
		switch o, err := v.p.store.Object(id); {
		case errors.Is(err, state.ErrNotFound):
		case err != nil:
			return "", err
		default:
			return fmt.Sprintf("%s is %s: %s", id, o.State, o.Reason), nil
		}
	}
	return "no table of it lands there", nil
}

func (s *sieve) takes(columns []arrow.Array, row int) bool {
	if s == nil || s.column < 0 || len(s.rows) == 0 {
		return false
	}
	of := s.rows[columns[s.column].ValueStr(row)]
	if of == nil {
		return false
	}
	of.Rows++
	return true
}

func (s *sieve) counted() (out []DepartedRows) {
	for _, of := range s.rows {
		if of.Rows > 0 {
			out = append(out, *of)
		}
	}
	slices.SortFunc(out, func(a, b DepartedRows) int { return strings.Compare(a.Database, b.Database) })
	return out
}

// HasLeft says why the rows of a database cannot be taken out of merged tables, nil
// where they can.
func HasLeft(s *spec.Spec, database string) error {
	switch {
	case slices.Contains(Databases(s), database):
		return &RequestError{fmt.Sprintf("database %q is in the pipeline file, which would load its rows again", database), "take it out of databases under [source] first"}
	case !s.Source.MergeTables:
		return &RequestError{fmt.Sprintf("the tables of database %q are its own: merge_tables is off", database), "drop them at the destination"}
	}
	return nil
}

// TakeRows takes the rows of a database that has left the pipeline file out of
// merged tables, as a TRUNCATE of its tables would, and forgets how far it was
// read. The pipeline must not be running.
func (p *Pipeline) TakeRows(ctx context.Context, database string) error {
	if err := HasLeft(p.Spec, database); err != nil {
		return err
	}
	stored := new(checkpointEntries)
	if err := stored.read(ctx, p.applier); err != nil {
		return err
	}
	known := new(shapes)
	if err := known.read(stored, database); err != nil {
		return err
	}
	var at position
	if text := stored.get(positionKey(database)); text != "" {
		if err := json.Unmarshal([]byte(text), &at); err != nil {
			return fmt.Errorf("checkpoint of database %s at the destination: %w", database, err)
		}
	}
	at.Position.Ordinal = batch.EndOfTransaction
	objects, err := p.store.Objects()
	if err != nil {
		return err
	}
	var schemas []*batch.Schema
	for _, o := range objects {
		id := o.Table
		if id.Database != database || stored.get(loadKey(id)) == "" && stored.get(queryKey(id)) == "" && stored.get(vacatedKey(id)) == "" && len(known.under(id)) == 0 {
			continue
		}
		s, err := p.store.LatestSchema(id)
		if err != nil {
			return err
		}
		p.applier.announce(s)
		schemas = append(schemas, s)
	}
	if err := p.takeBack(ctx, stored, stored.of(database), schemas, at.Position); err != nil {
		return err
	}
	l := newLane(p, database)
	l.record.Slot, _ = names(p.Spec, database)
	err = p.store.Update(func(tx *state.Tx) error {
		for _, o := range objects {
			if o.Table.Database != database {
				continue
			}
			if err := errors.Join(tx.DeleteChunks(o.Table), tx.ChangeObject(o.Table, func(o *state.Object) {
				o.State, o.Reason, o.Fix, o.Restart, o.Again = state.Deleted, "its database has left the pipeline, and its rows at the destination were taken out as by a TRUNCATE", "", false, ""
			})); err != nil {
				return err
			}
		}
		return tx.PutSource(state.Source{Database: database, Beside: true})
	})
	return errors.Join(err, spool.Remove(l.relayDir()), l.removeDiverted())
}
