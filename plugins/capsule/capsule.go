// Package capsule keeps one call of a transform in a file, so that a failure
// can be made again anywhere: the batch that went in, the plugin by its digest,
// its settings, and what came of it.
//
// A capsule is a JSON document; the batch in it is Arrow IPC, as batch.Marshal
// writes it. Columns that the plugin's plan did not declare are left out, the
// cells of the others may be masked, and settings that came from outside the
// pipeline file are never in it.
package capsule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/wasm"
)

// format is the version of the document that this leat writes and reads.
const format = 1

// maxSize bounds a capsule that is read.
const maxSize = 1 << 30

// Capsule is one call of a transform.
type Capsule struct {
	Format int       `json:"capsule"`
	Made   time.Time `json:"made"`
	// Plugin and Version are those of the manifest, Digest that of the module.
	Plugin  string          `json:"plugin"`
	Version string          `json:"version"`
	Digest  string          `json:"digest"`
	Config  json.RawMessage `json:"config"`
	Limits  wasm.Limits     `json:"limits"`
	// Columns are the only ones that the pipeline granted; nil is all.
	Columns   []string        `json:"columns,omitempty"`
	Schema    *batch.Schema   `json:"schema"`
	Peers     []*batch.Schema `json:"peers,omitempty"`
	Databases []string        `json:"databases,omitempty"`
	Masked    bool            `json:"masked"`
	Batch     []byte          `json:"batch"`
	// Outcome is what came of the call with this very batch.
	Outcome Outcome `json:"outcome"`
}

// Call is what a capsule is made of.
type Call struct {
	Plugin wasm.Plugin
	// Config replaces the plugin's settings: they may hold secrets.
	Config json.RawMessage
	Asked  wasm.PlanInput
	// Declared are the columns that the plan needs, in the guest or for kernels.
	Declared []string
	Batch    *batch.Batch
}

// New makes the capsule of a call without its outcome, which Record adds.
func New(c Call, mask bool) (*Capsule, error) {
	b := only(c.Batch, c.Declared)
	defer b.Release()
	if mask {
		masked := maskCells(b)
		defer masked.Release()
		b = masked
	}
	content, err := batch.Marshal(b)
	if err != nil {
		return nil, err
	}
	out := &Capsule{
		Format: format, Made: time.Now().UTC().Truncate(time.Second), Plugin: c.Plugin.Name, Version: c.Plugin.Version, Digest: c.Plugin.Digest,
		Config: c.Config, Limits: c.Plugin.Limits, Columns: c.Plugin.Columns, Schema: withoutValues(c.Asked.Schema), Databases: c.Asked.Databases,
		Masked: mask, Batch: content,
	}
	for _, peer := range c.Asked.Peers {
		out.Peers = append(out.Peers, withoutValues(peer))
	}
	return out, nil
}

// withoutValues is a schema without the values of rows older than a column:
// they are data.
func withoutValues(s *batch.Schema) *batch.Schema {
	out := &batch.Schema{Table: s.Table, Version: s.Version, OID: s.OID, Columns: slices.Clone(s.Columns)}
	for i := range out.Columns {
		out.Columns[i].Missing = nil
	}
	return out
}

// only returns b with the cells of all but the named columns absent.
func only(b *batch.Batch, columns []string) *batch.Batch {
	out := *b
	out.Schema = withoutValues(b.Schema)
	out.Present = slices.Clone(b.Present)
	arrays := make([]arrow.Array, len(b.Schema.Columns))
	for i, column := range b.Schema.Columns {
		if slices.Contains(columns, column.Name) {
			arrays[i] = b.Rows.Column(i)
			arrays[i].Retain()
			continue
		}
		arrays[i], out.Present[i] = nothing(column.Type, b.Len()), batch.NewBitmap(b.Len())
	}
	return withRows(&out, arrays)
}

// withRows gives b the columns, whose references it takes over.
func withRows(b *batch.Batch, columns []arrow.Array) *batch.Batch {
	b.Rows = array.NewRecordBatch(b.Schema.Arrow(), columns, int64(b.Len()))
	for _, a := range columns {
		a.Release()
	}
	return b
}

// Write writes the capsule to a file that only its owner can read.
func (c *Capsule) Write(path string) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encode capsule: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write capsule: %w", err)
	}
	return nil
}

// Open reads a capsule. What it says is not to be trusted.
func Open(path string) (*Capsule, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open capsule: %w", err)
	}
	defer f.Close()
	c := &Capsule{}
	d := json.NewDecoder(io.LimitReader(f, maxSize))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("%s is not a capsule: %w", path, err)
	}
	if c.Format != format {
		return nil, fmt.Errorf("%s is a capsule of format %d, this leat reads %d", path, c.Format, format)
	}
	if c.Schema == nil || slices.Contains(c.Peers, nil) || len(c.Batch) == 0 {
		return nil, fmt.Errorf("%s is not a capsule: it has no schema or no batch", path)
	}
	return c, nil
}

// rows reads the batch, which has to be one of the capsule's schema.
func (c *Capsule) rows() (*batch.Batch, error) {
	b, err := batch.Unmarshal(c.Batch)
	if err != nil {
		return nil, fmt.Errorf("batch of the capsule: %w", err)
	}
	if b.Len() == 0 || b.Schema.Fingerprint() != c.Schema.Fingerprint() {
		b.Release()
		return nil, errors.New("the capsule's batch is empty or of another schema")
	}
	b.Schema = c.Schema
	return b, nil
}
