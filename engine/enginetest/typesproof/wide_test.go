package typesproof

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// wide is a table of n columns beside its key.
func wide(name string, n int) *sample {
	s := &sample{name: name}
	for i := range n {
		c := column{typ: "smallint", values: []string{fmt.Sprint(i), fmt.Sprint(-i)}}
		if i%10 == 0 {
			c = column{typ: "text", values: []string{fmt.Sprintf("t%d", i), ""}}
		}
		s.names, s.columns = append(s.names, fmt.Sprintf("w%d", i)), append(s.columns, c)
	}
	return s
}

// TestWideRowsTravel sends rows of 1,599 columns, as many as PostgreSQL allows,
// to DuckDB, and of as many to PostgreSQL as it allows beside the columns that
// Leat adds.
func TestWideRowsTravel(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	source := connect(t, server.DSN(database))
	samples := []*sample{wide("widest", 1599), wide("wide", 1500)}
	for _, s := range samples {
		run(t, source, s.history()...)
	}
	pipelines := []*pipeline{
		newPipeline(t, server, database, way{name: "wide-duckdb", destination: "duckdb", format: "auto", exclude: []string{"public.wide"}}),
		newPipeline(t, server, database, way{name: "wide-postgres", destination: "postgres", format: "auto", exclude: []string{"public.widest"}}),
	}
	catchUp(t, pipelines...)
	for _, s := range samples {
		run(t, source, s.changes()...)
	}
	catchUp(t, pipelines...)
	for i, p := range pipelines {
		t.Run(p.name, func(t *testing.T) {
			for _, d := range p.differences(t, samples[i], samples[i].source(t, source, p), nil) {
				t.Error(d)
			}
			if v := p.verify(t); !v.Equal() || len(v.Tables) != 1 {
				t.Errorf("leat verify: %+v", v.Tables)
			}
		})
	}
	t.Run("too-wide-for-postgres", func(t *testing.T) {
		p := newPipeline(t, server, database, way{name: "wide-refused", destination: "postgres", format: "auto", exclude: []string{"public.wide"}})
		err := p.run(t)
		if err == nil || !strings.Contains(err.Error(), "widest") || !strings.Contains(err.Error(), "1600 columns") {
			t.Errorf("a table with more columns than PostgreSQL holds: %v", err)
		}
	})
}
