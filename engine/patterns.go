package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle/strict"
)

// IdlePattern is a pattern of the pipeline file that names no table: most
// likely it is mistyped.
type IdlePattern struct {
	// Key is where the pattern stands in the file, Place that as
	// file:line:column.
	Key     string `json:"key"`
	Place   string `json:"place"`
	Pattern string `json:"pattern"`
	// Among says among which tables it was looked for, Nearest is the one that
	// was probably meant, empty if none is near.
	Among   string `json:"among"`
	Nearest string `json:"nearest,omitempty"`
}

// String is a sentence.
func (p IdlePattern) String() string {
	s := fmt.Sprintf("%s: %s: %q names no %s (case counts)", p.Place, p.Key, p.Pattern, p.Among)
	if p.Nearest != "" {
		s += fmt.Sprintf("; did you mean %q?", p.Nearest)
	}
	return s
}

// idlePatterns are the patterns of a pipeline file that name none of the tables
// of its databases.
func idlePatterns(s *spec.Spec, all []batch.TableID) []IdlePattern {
	var chosen []batch.TableID
	for _, t := range all {
		if s.Source.Mode == spec.ModeSQL || s.Objects.Selection().Match(t.Schema, t.Name) {
			chosen = append(chosen, t)
		}
	}
	var out []IdlePattern
	look := func(key, among string, at strict.Path, patterns []spec.Pattern, tables []batch.TableID) {
		for i, p := range patterns {
			if p.String() == "*.*" || slices.ContainsFunc(tables, func(t batch.TableID) bool { return p.Match(t.Schema, t.Name) }) {
				continue
			}
			var names []string
			for _, t := range tables {
				names = append(names, t.Schema+"."+t.Name)
				if _, part, _ := strings.Cut(p.String(), "."); strings.ContainsAny(part, "*?") {
					if near, err := spec.ParsePattern(t.Schema + "." + part); err == nil && near.Match(t.Schema, t.Name) {
						names = append(names, near.String())
					}
				}
			}
			out = append(out, IdlePattern{key, s.Place(at.Index(i)), p.String(), among, strict.Nearest(p.String(), names)})
		}
	}
	const any, selected = "table of the source", "table that the pipeline reads"
	if s.Source.Mode != spec.ModeSQL {
		look("objects.include", any, strict.Path{"objects", "include"}, s.Objects.Include, all)
		look("objects.exclude", any, strict.Path{"objects", "exclude"}, s.Objects.Exclude, all)
	}
	for _, r := range s.Objects.Rules {
		look("objects", selected, strict.Path{"objects", r.Pattern.String()}, []spec.Pattern{r.Pattern}, chosen)
	}
	for i, t := range s.Transforms {
		look(fmt.Sprintf("transforms[%d].tables of %s", i+1, t.Plugin), selected, strict.Path{"transforms"}.Index(i).Key("tables"), t.Tables, chosen)
	}
	return out
}

// tableNames are the tables of a database that a pipeline may name.
func tableNames(ctx context.Context, s *spec.Spec, source *postgres.Source) ([]batch.TableID, error) {
	if s.Source.Mode == spec.ModeSQL {
		return []batch.TableID{{Database: source.Database, Schema: "public", Name: s.Source.QueryName}}, nil
	}
	return source.Names(ctx)
}

// IdlePatterns looks for patterns of a pipeline file that name no table.
func IdlePatterns(ctx context.Context, s *spec.Spec) ([]IdlePattern, error) {
	var all []batch.TableID
	err := eachSource(ctx, s, func(source *postgres.Source) error {
		names, err := tableNames(ctx, s, source)
		all = append(all, names...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return idlePatterns(s, all), nil
}

// patternWatch warns once a run of patterns that name no table, when every
// database has been looked at.
type patternWatch struct {
	mu   sync.Mutex
	seen map[string][]batch.TableID // by database
	said bool
}

func (w *patternWatch) look(ctx context.Context, p *Pipeline, source *postgres.Source) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.said {
		return nil
	}
	names, err := tableNames(ctx, p.Spec, source)
	if err != nil {
		return err
	}
	if w.seen == nil {
		w.seen = map[string][]batch.TableID{}
	}
	w.seen[source.Database] = names
	var all []batch.TableID
	for _, database := range Databases(p.Spec) {
		names, ok := w.seen[database]
		if !ok {
			return nil
		}
		all = append(all, names...)
	}
	for _, idle := range idlePatterns(p.Spec, all) {
		p.log.Warn(idle.String())
	}
	w.said = true
	return nil
}
