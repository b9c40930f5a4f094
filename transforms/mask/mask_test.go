package main

import (
	"encoding/json"
	"testing"

	"github.com/leat-etl/leat/pdk/go"
)

var schema = &pdk.Schema{Columns: []pdk.Column{
	{Name: "id", Format: "l", PG: pdk.PGType{Name: "int8"}, Key: 1},
	{Name: "email", Format: "u", PG: pdk.PGType{Name: "varchar", Typmod: 20}},
}}

// TestMethods looks at the plans; what becomes of the values is shown with the
// host, in plugins/wasm.
func TestMethods(t *testing.T) {
	for config, want := range map[string]string{
		`{"columns": ["email"]}`: `{"kernel":"hash","inputs":[{"column":1}],"parameters":{"salt":{"setting":"salt"}}}`,
		`{"columns": ["email"], "algorithm": "md5", "encoding": "base64"}`:  `{"kernel":"hash","inputs":[{"column":1}],"parameters":{"algorithm":"md5","encoding":"base64","salt":{"setting":"salt"}}}`,
		`{"columns": ["email"], "method": "hmac"}`:                          `{"kernel":"hmac","inputs":[{"column":1}],"parameters":{"key":{"setting":"key"}}}`,
		`{"columns": ["email"], "method": "encrypt", "context": "mail"}`:    `{"kernel":"aes-siv","inputs":[{"column":1}],"parameters":{"action":"encrypt","context":"mail","key":{"setting":"key"}}}`,
		`{"columns": ["email"], "method": "redact", "text": ""}`:            `{"kernel":"mask","inputs":[{"column":1}],"parameters":{"method":"redact","text":""}}`,
		`{"columns": ["email", "email"], "method": "keep-last", "keep": 4}`: `{"kernel":"mask","inputs":[{"column":1}],"parameters":{"keep":4,"method":"keep-last"}}`,
		`{"columns": ["email"], "method": "keep-domain", "text": "hidden"}`: `{"kernel":"mask","inputs":[{"column":1}],"parameters":{"method":"keep-domain","text":"hidden"}}`,
	} {
		p, err := plan(&pdk.PlanInput{Schema: schema, RawConfig: []byte(config)})
		if err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		got, err := json.Marshal(p.Kernels)
		if err != nil || string(got) != "["+want+"]" {
			t.Errorf("%s: kernels are %s (%v), want [%s]", config, got, err, want)
		}
		if len(p.Needs) != 0 || p.Outputs[0].Columns[1].PG != pdk.Text {
			t.Errorf("%s: plan %+v", config, p)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, config := range []string{
		`{}`, `{"columns": []}`, `{"columns": ["nobody"]}`, `{"columns": ["id"]}`, `{"columns": ["email"], "method": "rot13"}`, `{"column": "email"}`,
		`{"columns": ["email"], "method": "redact", "algorithm": "md5"}`, `{"columns": ["email"], "method": "encrypt", "algorithm": "sha256"}`,
	} {
		if _, err := plan(&pdk.PlanInput{Schema: schema, RawConfig: []byte(config)}); err == nil {
			t.Errorf("%s was accepted", config)
		}
	}
}
