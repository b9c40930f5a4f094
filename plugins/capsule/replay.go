package capsule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/wasm"
)

// Outcome is what came of a call: a failure of the whole, or rows, some of
// which may have been refused. Equal outcomes are equal to the last byte.
type Outcome struct {
	Kind    wasm.Kind `json:"kind,omitempty"`
	Error   string    `json:"error,omitempty"`
	Refused []Refusal `json:"refused,omitempty"`
	Outputs []Output  `json:"outputs,omitempty"`
}

// Refusal is an input row that the plugin refused.
type Refusal struct {
	Row     int    `json:"row"`
	Message string `json:"message"`
}

// Output is the rows of one table, Digest the SHA-256 of all that they hold.
type Output struct {
	Table  batch.TableID `json:"table"`
	Rows   int           `json:"rows"`
	Digest string        `json:"digest"`
}

// Failed says whether the call or a row of it failed.
func (o Outcome) Failed() bool { return o.Error != "" || len(o.Refused) > 0 }

// Equal says whether two calls had the same outcome.
func (o Outcome) Equal(other Outcome) bool { return o.text() == other.text() }

func (o Outcome) text() string {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings and numbers alone
	}
	return string(text)
}

// String says the outcome in words.
func (o Outcome) String() string {
	if o.Error != "" {
		return fmt.Sprintf("failed (%s): %s", o.Kind, o.Error)
	}
	s := ""
	for _, r := range o.Refused {
		s += fmt.Sprintf("row %d refused: %s; ", r.Row, r.Message)
	}
	rows := 0
	for _, out := range o.Outputs {
		rows += out.Rows
	}
	return s + fmt.Sprintf("rows that came out: %d", rows)
}

// Replay makes the call again with a plugin. An error says that there was no
// call: a failure of the plugin is an outcome.
func (c *Capsule) Replay(ctx context.Context, plugin *wasm.Transform) (Outcome, error) {
	b, err := c.rows()
	if err != nil {
		return Outcome{}, err
	}
	defer b.Release()
	plan, err := plugin.Plan(ctx, wasm.PlanInput{Schema: c.Schema, Peers: c.Peers, Databases: c.Databases})
	if err != nil {
		return failure(err)
	}
	result, err := plugin.Process(ctx, plan, b)
	if err != nil {
		return failure(err)
	}
	return outcomeOf(result)
}

// failure turns the error of a call into an outcome.
func failure(err error) (Outcome, error) {
	var plugin *wasm.Error
	if !errors.As(err, &plugin) {
		return Outcome{}, err
	}
	return Outcome{Kind: plugin.Kind, Error: plugin.Message}, nil
}

// outcomeOf describes what a plugin made, and releases it.
func outcomeOf(result wasm.Result) (o Outcome, err error) {
	for _, f := range result.Failed {
		o.Refused = append(o.Refused, Refusal{f.Row, f.Message})
	}
	for _, b := range result.Batches {
		content, failed := batch.Marshal(b)
		err = errors.Join(err, failed)
		sum := sha256.Sum256(content)
		o.Outputs = append(o.Outputs, Output{b.Schema.Table, b.Len(), "sha256:" + hex.EncodeToString(sum[:])})
		b.Release()
	}
	return o, err
}
