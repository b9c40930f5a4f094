// Command mask hides the values of chosen columns.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/leat-etl/leat/pdk/go"
)

// config is the plugin's configuration; plugin.toml describes it.
type config struct {
	Columns []string `json:"columns"`
	Method  string   `json:"method"`
	Salt    string   `json:"salt"`
	Text    *string  `json:"text"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	c := config{Method: "hash"}
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	method, err := c.masker()
	if err != nil {
		return nil, err
	}
	p := pdk.KeepAll(in.Schema)
	for _, name := range c.Columns {
		i := in.Schema.Column(name)
		if i < 0 {
			return nil, fmt.Errorf("table %s has no column %q", in.Schema.Table.Name, name)
		}
		column := &p.Outputs[0].Columns[i]
		if column.Format != pdk.FormatText {
			return nil, fmt.Errorf("column %q has type %s: mask works on text columns", name, column.PG.Name)
		}
		if column.PG = pdk.Text; column.From.Computed == nil {
			p.Rewrite(i, method)
		}
	}
	return p, nil
}

// masker appends the masked form of a value to dst.
type masker = func(dst, value []byte) ([]byte, error)

func (c *config) masker() (masker, error) {
	if len(c.Columns) == 0 {
		return nil, errors.New("columns: name at least one column")
	}
	switch c.Method {
	case "hash":
		return hash(c.Salt), nil
	case "redact":
		text := "***"
		if c.Text != nil {
			text = *c.Text
		}
		return func(dst, _ []byte) ([]byte, error) { return append(dst, text...), nil }, nil
	case "keep-domain":
		return keepDomain, nil
	}
	return nil, fmt.Errorf("method: %q is not hash, redact or keep-domain", c.Method)
}

// hash replaces a value by the SHA-256 of salt and value in hexadecimal.
func hash(salt string) masker {
	var buffer []byte
	return func(dst, value []byte) ([]byte, error) {
		buffer = append(append(buffer[:0], salt...), value...)
		sum := sha256.Sum256(buffer)
		return hex.AppendEncode(dst, sum[:]), nil
	}
}

// keepDomain replaces everything before the last @ by three stars; a value
// without one is replaced whole.
func keepDomain(dst, value []byte) ([]byte, error) {
	dst = append(dst, "***"...)
	for i := len(value) - 1; i >= 0; i-- {
		if value[i] == '@' {
			return append(dst, value[i:]...), nil
		}
	}
	return dst, nil
}
