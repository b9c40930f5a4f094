package typesproof

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// literals makes array-to-varchar keep PostgreSQL's own text.
const literals = "\nconfig = { format = \"postgres\" }"

func all(column) bool { return true }

// TestArraysThatAreNoLists sends arrays of several dimensions and with bounds
// of their own: PostgreSQL and text keep them, a list of DuckDB cannot, so that
// their rows become failed events.
func TestArraysThatAreNoLists(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	source := connect(t, server.DSN(database))
	s := newSample("shapes", shapes, all)
	run(t, source, s.history()...)
	ways := []way{
		{name: "shapes-duckdb", destination: "duckdb", format: "text"},
		{name: "shapes-duckdb-binary", destination: "duckdb", format: "binary"},
		{name: "shapes-postgres", destination: "postgres", format: "binary"},
		{name: "shapes-json", destination: "duckdb", format: "auto", transform: arrayToVarchar},
		{name: "shapes-json-postgres", destination: "postgres", format: "auto", transform: arrayToVarchar},
		{name: "shapes-literal", destination: "postgres", format: "auto", transform: arrayToVarchar + literals},
	}
	var pipelines []*pipeline
	for _, w := range ways {
		pipelines = append(pipelines, newPipeline(t, server, database, w))
	}
	catchUp(t, pipelines...)
	run(t, source, s.changes()...)
	catchUp(t, pipelines...)
	for _, p := range pipelines {
		t.Run(p.name, func(t *testing.T) {
			if p.destination == "duckdb" && p.transform == "" {
				p.expectFailed(t, s, source, []int{0, 1, 2})
				return
			}
			for _, d := range p.differences(t, s, s.source(t, source, p), nil) {
				if !mayBe(d) {
					t.Error(d)
				}
			}
			if failed := p.failed(t); len(failed) > 0 {
				t.Errorf("failed events: %v", failed)
			}
		})
	}
}

// TestValuesBeyondABatch sends times that no batch holds: their rows are
// failed events, the others arrive.
func TestValuesBeyondABatch(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	source := connect(t, server.DSN(database))
	s := newSample("beyond", beyond, all)
	run(t, source, s.history()...)
	var pipelines []*pipeline
	for _, destination := range []string{"duckdb", "postgres"} {
		for _, format := range []string{"text", "binary"} {
			p := newPipeline(t, server, database, way{name: "beyond-" + destination + "-" + format, destination: destination, format: format})
			pipelines = append(pipelines, p)
		}
	}
	catchUp(t, pipelines...)
	run(t, source, s.changes()...)
	catchUp(t, pipelines...)
	for _, p := range pipelines {
		t.Run(p.name, func(t *testing.T) {
			p.expectFailed(t, s, source, []int{0, 1})
		})
	}
}

// expectFailed asserts that the rows of some depths have not arrived, by load,
// insert or update, that each is a failed event, and that all others have.
func (p *pipeline) expectFailed(t *testing.T, s *sample, source *pgx.Conn, depths []int) {
	t.Helper()
	var without, stale []string
	for _, k := range depths {
		without = append(without, strconv.Itoa(k), strconv.Itoa(inserted+k))
		stale = append(stale, strconv.Itoa(updated+k)) // keeps the NULLs from before the update
	}
	for _, d := range p.differences(t, s, s.source(t, source, p), without) {
		if !slices.Contains(stale, d.id) || d.got != nil {
			t.Error(d)
		}
	}
	events := p.failed(t)[s.name]
	if len(events) != 3*len(depths) {
		t.Errorf("%d failed events, want %d", len(events), 3*len(depths))
	}
	for _, f := range events {
		if f.Reason == "" || strings.Contains(f.Reason, "294276") {
			t.Errorf("event %s has the reason %q: want a reason without the value", f.ID, f.Reason)
		}
	}
	v := p.verify(t)
	if v.Equal() {
		t.Errorf("leat verify finds no difference although %d rows are missing", len(events))
	}
}
