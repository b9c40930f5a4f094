package typesproof

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

const arrayToVarchar = "[[transforms]]\nplugin = \"array-to-varchar\""

var ways = []way{
	{name: "duckdb-text", destination: "duckdb", format: "text"},
	{name: "duckdb-binary", destination: "duckdb", format: "binary", exclude: []string{"public.text_only"}},
	{name: "duckdb-auto-varchar", destination: "duckdb", format: "auto", transform: arrayToVarchar},
	{name: "postgres-lines", destination: "postgres", format: "text", decoder: "test_decoding", extensions: true},
	{name: "postgres-text", destination: "postgres", format: "text", extensions: true},
	{name: "postgres-binary", destination: "postgres", format: "binary", exclude: []string{"public.text_only"}},
	{name: "postgres-auto-varchar", destination: "postgres", format: "auto", transform: arrayToVarchar},
}

// TestEveryTypeTravels sends every type with its extremes by load, insert and
// update, in text and in binary form, to every destination.
func TestEveryTypeTravels(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	source := connect(t, server.DSN(database))
	run(t, source, typesSQL)
	extensions := installed(t, source)
	everything := newSample("everything", on(server.Major(), columns), func(c column) bool { return !c.textOnly })
	textOnly := newSample("text_only", on(server.Major(), columns), func(c column) bool { return c.textOnly })
	ofExtensions := newSample("of_extensions", columnsOf(extensions), all)
	for _, s := range []*sample{everything, textOnly, ofExtensions} {
		run(t, source, s.history()...)
	}
	var pipelines []*pipeline
	for _, w := range ways {
		p := newPipeline(t, server, database, w)
		if w.extensions {
			run(t, connect(t, server.DSN(p.target)), create(extensions)...)
		}
		pipelines = append(pipelines, p)
	}
	catchUp(t, pipelines...)
	for _, s := range []*sample{everything, textOnly, ofExtensions} {
		run(t, source, s.changes()...)
	}
	catchUp(t, pipelines...)
	for _, p := range pipelines {
		t.Run(p.name, func(t *testing.T) {
			lost := map[string]bool{}
			p.typesOfExtensions(t, ofExtensions)
			for _, s := range []*sample{everything, textOnly, ofExtensions} {
				if slices.Contains(p.exclude, "public."+s.name) {
					continue
				}
				for _, d := range p.differences(t, s, s.source(t, source, p), nil) {
					if !declared(d) {
						t.Error(d)
					}
					if !mayBe(d) {
						lost[d.typ] = true
					}
				}
			}
			if got, want := slices.Sorted(maps.Keys(lost)), p.losses(); !slices.Equal(got, want) {
				t.Errorf("types with a loss: %q, want %q", got, want)
			}
			for table, events := range p.failed(t) {
				t.Errorf("%d failed events of %s, the first: %s", len(events), table, events[0].Reason)
			}
			if v := p.verify(t); !v.Equal() {
				t.Errorf("leat verify: %+v", v.Tables)
			}
		})
	}
}

// losses are the types of which this way loses a value, all declared.
func (p *pipeline) losses() []string {
	switch {
	case p.destination != "duckdb":
		return nil
	case p.transform != "":
		return []string{"numeric(38,10)", "numeric(5,2)"}
	}
	return []string{"numeric(10,2)[]", "numeric(38,10)", "numeric(5,2)"}
}

// Losses that a plan may declare.
const (
	nanLost  = "NaN becomes NULL"
	zeroLost = "-0 may become 0"
)

// declared says whether the plan announced what happened to a cell.
func declared(d difference) bool {
	switch {
	case d.want == nil:
		return false
	case slices.Contains(d.declared, nanLost) && isArray(d.typ):
		return d.got != nil && strings.ReplaceAll(*d.want, `"NaN"`, "null") == *d.got
	case slices.Contains(d.declared, nanLost):
		return *d.want == "NaN" && d.got == nil
	}
	return mayBe(d)
}

// mayBe says whether a cell has lost the sign of a zero as declared, which
// depends on the values beside it.
func mayBe(d difference) bool {
	return slices.Contains(d.declared, zeroLost) && d.want != nil && d.got != nil && *d.want == "-0" && *d.got == "0.0"
}
