package engine

import (
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// TestNamesOfObjects resumes tables of which some are not paused: what a name
// stands for in several databases is left out as what a pattern finds is.
func TestNamesOfObjects(t *testing.T) {
	object := func(database, name string, choice state.Choice) state.Object {
		return state.Object{Table: batch.TableID{Database: database, Schema: "public", Name: name}, State: state.Streaming, Choice: choice}
	}
	every, err := spec.ParsePattern("*.*")
	if err != nil {
		t.Fatal(err)
	}
	file := &spec.Spec{Source: spec.Source{Databases: []string{"eu", "us"}}, Objects: spec.Objects{Include: []spec.Pattern{every}}}
	objects := []state.Object{object("eu", "t", state.Pause), object("us", "t", ""), object("eu", "u", ""), object("us", "u", "")}
	for _, c := range []struct{ names, want, refused string }{
		{"public.t", "eu.public.t", ""},
		{"t", "eu.public.t", ""},
		{"public.*", "eu.public.t", ""},
		{"us.public.t", "", "us.public.t cannot resume"},
		{"public.u", "", "public.u cannot resume"},
		{"public.t public.u", "", "public.u cannot resume"},
		{"public.t us.public.t", "eu.public.t", ""},
		{"public.v", "", "not one of the pipeline's"},
	} {
		r := ObjectRequest{Verb: ResumeObjects, Tables: strings.Fields(c.names)}
		chosen, err := r.choose(file, objects)
		var got []string
		for _, o := range chosen {
			got = append(got, o.Table.String())
		}
		if strings.Join(got, " ") != c.want || (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("resume %s: %q, %v", c.names, got, err)
		}
	}
}
