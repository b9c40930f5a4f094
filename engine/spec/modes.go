package spec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leat-etl/leat/plugins/bundle/strict"
)

// The modes of a source.
const (
	ModeLogical = "logical"
	ModeTable   = "table"
	ModeXmin    = "xmin"
	ModeSQL     = "sql"
)

// The query modes of an object.
const (
	FullLoad              = "full_load"
	DeltaTimestamp        = "delta_timestamp"
	IncrementingAppend    = "incrementing_append_only"
	ChangeDataCapture     = "change_data_capture"
	QueryXmin             = "xmin"
	defaultFrequency      = 6 * time.Hour
	minFrequency          = time.Second
	maxFrequency          = 24 * time.Hour
	continuousFrequency   = "continuous"
	defaultNameOfTheQuery = "query"
)

// ObjectRule says how the tables are read that its pattern names.
type ObjectRule struct {
	Pattern            Pattern       `toml:"@"`
	QueryMode          string        `toml:"query_mode" doc:"How a table is read: full_load reads all of it in each run; delta_timestamp the rows whose timestamp_column moved on; incrementing_append_only the rows with a new value of incrementing_column; change_data_capture both; xmin the rows written by transactions since the last run. In mode logical it chooses the order of the historical load. The default is full_load, in mode xmin xmin." enum:"full_load|delta_timestamp|incrementing_append_only|change_data_capture|xmin"`
	TimestampColumn    string        `toml:"timestamp_column" doc:"Column that every change of a row moves forward." max:"63"`
	IncrementingColumn string        `toml:"incrementing_column" doc:"Column that has a greater value in each new row." max:"63"`
	Delay              time.Duration `toml:"delay" doc:"How long a timestamp must be past before its row is read, for writers that set timestamps of their own in transactions that take long. A timestamp without time zone is taken for UTC." default:"0s" max:"24h"`
	DetectDeletes      bool          `toml:"detect_deletes" doc:"Compare the keys of source and destination after each run and delete what the source no longer has. full_load always does." default:"false"`
	Claim              []string      `toml:"claim" doc:"New columns that travel although column_added = \"withhold\"; \"*\" is all of them. The values of rows that are there come, too: the table is loaded again."`
	Key                []string      `toml:"key" doc:"Columns that identify a row of a view, a foreign table or a query, which have no primary key to ask for."`
}

// Cursor says whether the rule reads by columns.
func (r *ObjectRule) Cursor() bool { return r.TimestampColumn != "" || r.IncrementingColumn != "" }

// Claims says whether the rule lets a new column travel.
func (r *ObjectRule) Claims(column string) bool {
	return slices.Contains(r.Claim, column) || slices.Contains(r.Claim, "*")
}

// Identity is a text that changes when the object has to be ingested anew.
func (r *ObjectRule) Identity(query string) string {
	parts := []string{r.QueryMode}
	for _, p := range []struct{ name, value string }{
		{"timestamp_column", r.TimestampColumn}, {"incrementing_column", r.IncrementingColumn}, {"key", strings.Join(r.Key, ",")}, {"query", query},
	} {
		if p.value != "" {
			parts = append(parts, p.name+"="+p.value)
		}
	}
	return strings.Join(parts, " ")
}

// Rule returns how a table is read: by the first rule of the file that names
// it, with the defaults of the source's mode.
func (s *Spec) Rule(schema, table string) ObjectRule {
	out := ObjectRule{}
	for _, r := range s.Objects.Rules {
		if r.Pattern.Match(schema, table) {
			out = r
			break
		}
	}
	if out.QueryMode == "" {
		out.QueryMode = s.defaultQueryMode()
	}
	return out
}

func (s *Spec) defaultQueryMode() string {
	if s.Source.Mode == ModeXmin {
		return QueryXmin
	}
	return FullLoad
}

// Queries says whether the source is read by queries instead of its log.
func (s *Spec) Queries() bool { return s.Source.Mode != ModeLogical }

// Frequency is how often a pipeline reads its source: Every, or without end
// where it is 0.
type Frequency struct {
	Every time.Duration
	given bool
}

// Continuous says that reading never ends.
func (f Frequency) Continuous() bool { return f.Every == 0 }

// String prints the frequency as the file has it.
func (f Frequency) String() string {
	if f.Continuous() {
		return continuousFrequency
	}
	return f.Every.String()
}

// FromTOML implements strict.Value.
func (f *Frequency) FromTOML(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("must be %s", f.TypeName())
	}
	f.given = true
	if text == continuousFrequency {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New(`is not a frequency: want "continuous", or a number and s, m or h, for example "30m"`)
	}
	if d < minFrequency || d > maxFrequency {
		return fmt.Errorf("is out of range: want %q, or %s to %s", continuousFrequency, minFrequency, "24h")
	}
	f.Every = d
	return nil
}

// TypeName implements strict.Value.
func (*Frequency) TypeName() string { return `"continuous" or a duration such as "30m"` }

// JSONSchema implements strict.Value.
func (*Frequency) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": `^(continuous|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$`, "examples": []string{"30m"}}
}

// modes checks what the mode of the source asks for and refuses.
func (c *check) modes() {
	src := &c.s.Source
	if !src.Frequency.given && c.s.Queries() {
		src.Frequency.Every = defaultFrequency
	}
	at := strict.Path{"source"}
	switch sql := src.Mode == ModeSQL; {
	case sql && strings.TrimSpace(src.Query) == "":
		c.Fault(at.Key("query"), `is missing: mode = "sql" needs the query to replicate`)
	case !sql && c.Has(at.Key("query")):
		c.Fault(at.Key("query"), `needs mode = "sql"`)
	case !sql && c.Has(at.Key("query_name")):
		c.Fault(at.Key("query_name"), `needs mode = "sql"`)
	case sql && c.Has(strict.Path{"objects", "include"}):
		c.Fault(strict.Path{"objects", "include"}, `has no meaning in mode = "sql": the query says what is replicated`)
	}
	if src.Mode == ModeSQL && src.QueryName == "" {
		src.QueryName = defaultNameOfTheQuery
	}
	for i := range c.s.Objects.Rules {
		c.rule(&c.s.Objects.Rules[i])
	}
	if c.s.Queries() && c.s.SchemaChanges.ColumnAdded == "withhold" {
		c.Fault(strict.Path{"schema_changes", "column_added"}, `is "withhold", which needs mode = "logical"`)
	}
	if !src.LoadHistoricalData && c.Has(at.Key("load_historical_data")) && c.s.Queries() && len(c.s.Objects.Rules) == 0 && c.s.defaultQueryMode() == FullLoad {
		c.Fault(at.Key("load_historical_data"), `cannot be false with query_mode = "full_load", which reads all of a table in each run: give the objects another query_mode`)
	}
}

// rule checks that a rule of the file has the columns that its query mode needs.
func (c *check) rule(r *ObjectRule) {
	at := strict.Path{"objects", r.Pattern.String()}
	for _, f := range c.s.RuleFaults(r) {
		c.Fault(at.Key(f.Key), "%s", f.Message)
	}
	if len(r.Claim) > 0 && c.s.SchemaChanges.ColumnAdded != "withhold" {
		c.Fault(at.Key("claim"), `has no meaning without column_added = "withhold" in [schema_changes]`)
	}
	if !c.s.Queries() && (r.DetectDeletes || len(r.Key) > 0) {
		for _, key := range []string{"detect_deletes", "key"} {
			if c.Has(at.Key(key)) {
				c.Fault(at.Key(key), `has no meaning in mode = "logical": the log has keys and deletes`)
			}
		}
	}
}

// RuleFault is what is wrong with a key of a rule: the message goes on after
// the name of the key.
type RuleFault struct{ Key, Message string }

// RuleFaults says what is wrong with how a rule reads a table.
func (s *Spec) RuleFaults(r *ObjectRule) (out []RuleFault) {
	fault := func(key, format string, args ...any) {
		out = append(out, RuleFault{key, fmt.Sprintf(format, args...)})
	}
	mode := r.QueryMode
	if mode == "" {
		mode = s.defaultQueryMode()
	}
	timestamp := mode == DeltaTimestamp || mode == ChangeDataCapture
	incrementing := mode == IncrementingAppend || mode == ChangeDataCapture
	need := func(wanted bool, key, value string) {
		switch {
		case wanted && value == "":
			fault(key, "is missing: query_mode = %q needs it", mode)
		case !wanted && value != "":
			fault(key, "has no meaning with query_mode = %q", mode)
		}
	}
	need(timestamp, "timestamp_column", r.TimestampColumn)
	need(incrementing, "incrementing_column", r.IncrementingColumn)
	switch {
	case r.Delay != 0 && !timestamp:
		fault("delay", "has no meaning with query_mode = %q: it needs a timestamp_column", mode)
	case mode == QueryXmin && s.Source.Mode == ModeSQL:
		fault("query_mode", `is "xmin": the result of a query has no xmin`)
	case mode == FullLoad && s.Queries() && !s.Source.LoadHistoricalData:
		fault("query_mode", `is "full_load", which reads all of a table in each run: load_historical_data must be true`)
	}
	return out
}

// QueryError is a fault of the query of mode sql at a place of the file.
func (s *Spec) QueryError(char int, format string, args ...any) error {
	line, column := s.inQuery(char)
	return Errors{{File: s.Path, Line: line, Column: column, Key: "source.query", Message: fmt.Sprintf(format, args...)}}
}
