package relational

import (
	"fmt"
	"slices"
)

// Config is the behaviour of a SQL destination. What opens the connection
// stays with the host.
type Config struct {
	Schema         string `json:"schema"`
	LoadMode       string `json:"load_mode"`
	Deletes        string `json:"deletes"`
	Truncate       string `json:"truncate"`
	MetadataPrefix string `json:"metadata_prefix"`
	// Metadata are names out of selectable; nil stands for usual.
	Metadata []string `json:"metadata"`
}

// The values of Config's fields.
const (
	merge    = "merge"
	appended = "append"
	history  = "history"
	soft     = "soft"
	hard     = "hard"
	ignore   = "ignore"
	mark     = "mark"
	empty    = "truncate"
)

// complete sets defaults and checks what a JSON Schema cannot.
func (c *Config) complete(d *Dialect) error {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&c.Schema, d.MainSchema)
	set(&c.LoadMode, merge)
	set(&c.Deletes, soft)
	set(&c.MetadataPrefix, "__leat_")
	if c.Metadata == nil {
		c.Metadata = usual
	}
	switch {
	case c.LoadMode != merge || c.Deletes == soft:
		set(&c.Truncate, mark)
	case c.Deletes == hard:
		set(&c.Truncate, empty)
	default:
		set(&c.Truncate, ignore)
	}
	for _, f := range []struct {
		key, value string
		allowed    [3]string
	}{
		{"load_mode", c.LoadMode, [3]string{merge, appended, history}},
		{"deletes", c.Deletes, [3]string{soft, hard, ignore}},
		{"truncate", c.Truncate, [3]string{mark, empty, ignore}},
	} {
		if f.value != f.allowed[0] && f.value != f.allowed[1] && f.value != f.allowed[2] {
			return fmt.Errorf("%s = %q: want one of %q", f.key, f.value, f.allowed)
		}
	}
	for _, name := range c.Metadata {
		if !slices.Contains(selectable, name) {
			return fmt.Errorf("metadata = %q: want some of %q", name, selectable)
		}
	}
	if c.LoadMode == merge && c.Truncate == mark && c.Deletes != soft {
		return fmt.Errorf(`truncate = "mark" needs deletes = "soft": only then has a row a mark`)
	}
	return nil
}

// Compacts says that rows of one key may be merged before they are written,
// Fills that absent cells are to be filled inside a batch.
func (c *Config) Compacts() bool { return c.LoadMode == "" || c.LoadMode == merge }

// Fills is described with Compacts.
func (c *Config) Fills() bool { return c.LoadMode == history }

// Empties says that a TRUNCATE takes rows back.
func (c *Config) Empties() bool {
	return c.LoadMode != appended && c.Truncate != ignore && (c.Truncate != "" || c.Deletes != ignore)
}

// marks says whether tables have a column that marks deleted rows.
func (c *Config) marks() bool { return c.LoadMode != appended && c.Deletes == soft }

// insertsAreNew says that the target has no live row of a key that the source
// inserts: nothing that the source deleted was left as it was.
func (c *Config) insertsAreNew() bool { return c.Deletes != ignore && c.Truncate != ignore }
