// Command mask hides the values of chosen columns.
package main

import (
	"errors"
	"fmt"

	"github.com/leat-etl/leat/pdk/go"
)

// config is the part of the plugin's configuration that it sees; the host keeps
// salt and key. config.schema.json describes it.
type config struct {
	Columns   []string `json:"columns"`
	Method    string   `json:"method"`
	Algorithm string   `json:"algorithm"`
	Encoding  string   `json:"encoding"`
	Text      *string  `json:"text"`
	Keep      *int     `json:"keep"`
	Context   string   `json:"context"`
}

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	c := config{Method: "hash"}
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	kernel, parameters, err := c.kernel()
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
		if column.PG = pdk.Text; column.From.Kernel == nil {
			p.RewriteByKernel(i, kernel, parameters)
		}
	}
	return p, nil
}

// kernel is the host's kernel that masks as the configuration says.
func (c *config) kernel() (name string, parameters map[string]any, err error) {
	if len(c.Columns) == 0 {
		return "", nil, errors.New("columns: name at least one column")
	}
	set := map[string]any{}
	switch c.Method {
	case "encrypt", "decrypt":
		set["action"], set["context"], set["key"] = c.Method, c.Context, pdk.Setting{Name: "key"}
		if c.Encoding != "" {
			set["encoding"] = c.Encoding
		}
		if c.Algorithm != "" {
			return "", nil, fmt.Errorf("algorithm: %s is by AES-SIV always", c.Method)
		}
		return "aes-siv", set, nil
	case "hash", "hmac":
		if c.Algorithm != "" {
			set["algorithm"] = c.Algorithm
		}
		if c.Encoding != "" {
			set["encoding"] = c.Encoding
		}
		if c.Method == "hash" {
			set["salt"] = pdk.Setting{Name: "salt"}
		} else {
			set["key"] = pdk.Setting{Name: "key"}
		}
		return c.Method, set, nil
	case "redact", "keep-domain", "keep-first", "keep-last":
		if c.Algorithm != "" || c.Encoding != "" {
			return "", nil, fmt.Errorf("algorithm and encoding are for the methods hash and hmac, not for %s", c.Method)
		}
		set["method"] = c.Method
		if c.Text != nil {
			set["text"] = *c.Text
		}
		if c.Keep != nil {
			set["keep"] = *c.Keep
		}
		return "mask", set, nil
	}
	return "", nil, fmt.Errorf("method: %q is not hash, hmac, encrypt, decrypt, redact, keep-domain, keep-first or keep-last", c.Method)
}
