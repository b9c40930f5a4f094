package golden

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/bundle/strict"
	"github.com/leat-etl/leat/plugins/workbench/textbatch"
)

// File is a file of cases. What it says of table, columns and config holds for
// its cases that do not say otherwise.
type File struct {
	Table     string   `toml:"table" doc:"Source table of the cases, schema.table or database.schema.table."`
	Columns   []string `toml:"columns" doc:"Its columns: name, type, and key for those of the row identity, for example \"id bigint key\"."`
	Config    Settings `toml:"config" doc:"Settings of the plugin."`
	Databases []string `toml:"databases" doc:"Databases of the pipeline; the default is the table's."`
	Cases     []Case   `toml:"case" doc:"Batches that go in, and what has to come out." required:"true"`

	name string
}

// Case is one batch, or several in a row for a destination, with what is
// expected of it.
type Case struct {
	Name    string   `toml:"name" doc:"What the case shows, a sentence." required:"true" min:"1"`
	Table   string   `toml:"table" doc:"As in the file, for this case alone."`
	Columns []string `toml:"columns" doc:"As in the file, for this case alone."`
	Config  Settings `toml:"config" doc:"As in the file, for this case alone."`
	Input   string   `toml:"input" doc:"The batch that goes in."`
	Inputs  []string `toml:"inputs" doc:"Several batches, in order: for a destination."`
	Output  string   `toml:"output" doc:"The rows that come out: of the plugin's first table, or of a destination's query."`
	Outputs []Output `toml:"outputs" doc:"The rows that come out, table by table."`
	Failed  []Failed `toml:"failed" doc:"The rows of the input that the plugin refuses."`
	Error   string   `toml:"error" doc:"A part of the message with which the plugin refuses the settings, the table or the batch."`
	Sees    []string `toml:"sees" doc:"The columns that enter the plugin, in order."`
	// A destination's.
	Query      string   `toml:"query" doc:"What a destination is asked afterwards; output has its rows."`
	Statements []string `toml:"statements" doc:"The statements that a destination sends, without a database: for drivers that are not embedded."`
}

// Output is the rows of one table.
type Output struct {
	Table string `toml:"table" doc:"Table at the plugin's output, schema.table." required:"true"`
	Rows  string `toml:"rows" doc:"Its rows."`
}

// Failed is a row that the plugin refuses.
type Failed struct {
	Row     int    `toml:"row" doc:"Row of the input, the first is 1." required:"true" min:"1"`
	Message string `toml:"message" doc:"A part of the reason."`
}

// Settings are a plugin's, as JSON.
type Settings struct{ text json.RawMessage }

// FromTOML implements strict.Value.
func (s *Settings) FromTOML(v any) error {
	if _, ok := v.(map[string]any); !ok {
		return errors.New("must be a table of settings")
	}
	text, err := json.Marshal(v)
	s.text = text
	return err
}

// JSONSchema implements strict.Value.
func (*Settings) JSONSchema() map[string]any { return map[string]any{"type": "object"} }

// TypeName implements strict.Value.
func (*Settings) TypeName() string { return "a table" }

// Folder is where a plugin keeps its cases.
const Folder = "tests"

// Load reads the cases beside a plugin, none if it has none.
func Load(dir string) ([]*File, error) {
	names, err := filepath.Glob(filepath.Join(dir, Folder, "*.toml"))
	if err != nil {
		return nil, fmt.Errorf("find cases: %w", err)
	}
	slices.Sort(names)
	var files []*File
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read cases: %w", err)
		}
		f := &File{name: filepath.Base(name)}
		doc, err := strict.Decode(name, text, f)
		if err != nil {
			return nil, err
		}
		for i := range f.Cases {
			f.check(doc, i)
		}
		if err := doc.Err(); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// check fills what a case takes from its file and refuses what makes no sense.
func (f *File) check(doc *strict.Document, i int) {
	c := &f.Cases[i]
	at := strict.Path{"case"}.Index(i)
	if c.Table == "" {
		c.Table = f.Table
	}
	if c.Columns == nil {
		c.Columns = f.Columns
	}
	if c.Config.text == nil {
		c.Config = f.Config
	}
	if c.Config.text == nil {
		c.Config.text = json.RawMessage("{}")
	}
	if _, err := c.Schema(); err != nil {
		doc.Fault(at.Key("columns"), "is wrong: %v", err)
	}
	if c.Input != "" && c.Inputs != nil {
		doc.Fault(at.Key("inputs"), "and input exclude each other")
	}
	if c.Input != "" {
		c.Inputs = []string{c.Input}
	}
	if c.Output == "" && c.Outputs == nil && c.Failed == nil && c.Error == "" && c.Sees == nil && c.Statements == nil {
		doc.Fault(at.Key("output"), "is missing: a case says what has to come out, output, outputs, failed, sees, statements or error")
	}
}

// Schema is the table that the case is about.
func (c *Case) Schema() (*batch.Schema, error) {
	if c.Table == "" || len(c.Columns) == 0 {
		return nil, errors.New("a case needs table and columns, its own or the file's")
	}
	return textbatch.ParseSchema(c.Table, c.Columns)
}

// Settings are the plugin's in this case, a JSON object.
func (c *Case) Settings() json.RawMessage { return c.Config.text }

// Name is the file's, without its folder.
func (f *File) Name() string { return f.name }

// Bare is a case without settings.
var Bare = Case{Config: Settings{json.RawMessage("{}")}}
