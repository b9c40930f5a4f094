package wasm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/kernel"
)

// kernelsOfEveryKit are guests that turn a text around and run a kernel on it.
var kernelsOfEveryKit = map[string]func(t testing.TB) []byte{
	"go":         func(t testing.TB) []byte { return build(t, "testdata/kernels") },
	"c":          func(t testing.TB) []byte { return compileC(t, "testdata/kernels-kits/plugin.c") },
	"rust":       func(t testing.TB) []byte { return compileRust(t, "testdata/kernels-kits/lib.rs") },
	"typescript": func(t testing.TB) []byte { return compileTypeScript(t, "plugins/wasm/testdata/kernels-kits/plugin.ts") },
}

func TestKernelsOnWhatAPluginComputed(t *testing.T) {
	s := customers("shop")
	for language, code := range kernelsOfEveryKit {
		t.Run(language, func(t *testing.T) {
			h, code := newHost(t), code(t)
			run := func(config string, p Plugin, texts ...string) (Result, error) {
				p.Name, p.Version, p.Config = "kernels", "0.1.0", []byte(config)
				tr, err := h.Transform(t.Context(), code, p)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { tr.Close(context.Background()) })
				var rows []row
				for i, text := range texts {
					rows = append(rows, row{batch.Update, int64(i), [3]string{text, "n", text}})
				}
				return tr.Process(t.Context(), mustPlan(t, tr, PlanInput{Schema: s}), customerBatch(s, rows...))
			}
			for _, c := range []struct{ config, input, want string }{
				{`{"column": 1, "kernel": "hash", "parameters": {}}`, "cba", sha256Hex("abc")},
				{`{"column": 1, "kernel": "hmac", "parameters": {"key": {"setting": "key"}}}`, "cba", hmacHex("Jefe", "abc")},
				{`{"column": 1, "kernel": "case", "parameters": {"to": "upper"}}`, "", ""},
				{`{"column": 3, "kernel": "array-json", "parameters": {}}`, "}b,a{", `["a","b"]`},
			} {
				r, err := run(c.config, Plugin{Settings: kernel.Settings{"key": []byte(`"Jefe"`)}}, c.input, null, absent)
				if err != nil {
					t.Errorf("%s: %v", c.config, err)
					continue
				}
				out, at := r.Batches[0], 1+strings.Count(c.config, `"column": 3`)*2
				if got := cellText(out.Rows.Column(at), 0); got != c.want || len(r.Failed) > 0 {
					t.Errorf("%s gives %q, want %q; failed: %v", c.config, got, c.want, r.Failed)
				}
				if !out.Rows.Column(at).IsNull(1) || !out.Present[at].Get(1) || out.Present[at].Get(2) {
					t.Errorf("%s: null and absent do not stay what they are", c.config)
				}
				out.Release()
			}
			r, err := run(`{"column": 3, "kernel": "array-json", "parameters": {}}`, Plugin{}, "}a{", "a{", "}b{")
			if err != nil || len(r.Failed) != 1 || r.Failed[0].Row != 1 || r.Batches[0].Len() != 2 {
				t.Fatalf("a row that is no array: %+v, %v", r, err)
			}
			r.Batches[0].Release()
			for config, want := range map[string]string{
				`{"column": 1, "kernel": "rm", "parameters": {}}`:                            `there is no kernel "rm"`,
				`{"column": 1, "kernel": "hash", "parameters": {"salz": "x"}}`:               `unknown field "salz"`,
				`{"column": 1, "kernel": "regex", "parameters": {"pattern": "a"}}`:           `the result has format b`,
				`{"column": 1, "kernel": "hmac", "parameters": {"key": {"setting": "key"}}}`: `the key is empty: give the plugin's setting "key"`,
			} {
				_, err := run(config, Plugin{}, "a")
				wantError(t, err, KindGuest, want)
			}
			// What a setting of the host encrypts stays hidden from the plugin; with a
			// key that it sees it may do as it likes.
			siv := func(action, key string) string {
				return fmt.Sprintf(`{"column": 1, "kernel": "aes-siv", "parameters": {"action": %q, "encoding": "hex", "key": %s}}`, action, key)
			}
			key := fmt.Sprintf("%q", strings.Repeat("0123456789abcdef", 8))
			holds := Plugin{Settings: kernel.Settings{"key": []byte(key)}}
			sealed := ""
			for _, c := range []struct{ action, key string }{{"encrypt", `{"setting": "key"}`}, {"decrypt", key}} {
				text := []byte(cmp.Or(sealed, "abc"))
				slices.Reverse(text) // as the plugin does before
				r, err := run(siv(c.action, c.key), holds, string(text))
				if err != nil {
					t.Fatalf("%s: %v", c.action, err)
				}
				if sealed = cellText(r.Batches[0].Rows.Column(1), 0); c.action == "decrypt" && sealed != "abc" {
					t.Errorf("decrypted it is %q", sealed)
				} else if c.action == "encrypt" {
					text := []byte(sealed)
					slices.Reverse(text)
					_, err = run(siv("decrypt", `{"setting": "key"}`), holds, string(text))
					wantError(t, err, KindGuest, "what it decrypts with a setting of the host does not enter the plugin")
				}
				r.Batches[0].Release()
			}
			salted := fmt.Sprintf(`{"column": 1, "kernel": "hash", "parameters": {"salt": %q}}`, strings.Repeat("s", 50_000))
			_, err = run(salted, Plugin{Limits: Limits{Fuel: 200_000_000}}, strings.Repeat("a", 20_000))
			wantError(t, err, KindFuel, "used up")
			long := fmt.Sprintf(`{"column": 1, "kernel": "replace", "parameters": {"find": "a", "with": %q}}`, strings.Repeat("s", 50_000))
			_, err = run(long, Plugin{Limits: Limits{MemoryBytes: 32 << 20}}, strings.Repeat("a", 20_000))
			wantError(t, err, KindGuest, "larger than the plugin's memory may be")
		})
	}
}

// A guest that lies about its columns loses its call, one that asks for what is
// not there is told, and the host goes on.
func TestKernelsOfHostileGuests(t *testing.T) {
	h := newHost(t)
	tr, err := h.Transform(t.Context(), compileC(t, "testdata/ask/plugin.c"), Plugin{Name: "ask", Version: "0.1.0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close(context.Background()) })
	s := customers("shop")
	p := mustPlan(t, tr, PlanInput{Schema: s})
	ask := func(text string) (string, error) {
		r, err := tr.Process(t.Context(), p, customerBatch(s, row{batch.Insert, 1, [3]string{text, "n", null}}))
		if err != nil {
			return "", err
		}
		defer r.Batches[0].Release()
		return cellText(r.Batches[0].Rows.Column(1), 0), nil
	}
	input := func(rows, more string) string {
		return `{"kernel": "hash", "rows": ` + rows + `, "inputs": [{"format": "u", ` + more + `}]}`
	}
	for text, want := range map[string]string{
		``:                  `decode the plugin's request`,
		`{"kernel": "hash"`: `decode the plugin's request`,
		`{"colour": 1}`:     `unknown field`,
		`{"kernel": "hash", "rows": 1, "inputs": []}`:                             `it takes 1 inputs`,
		input("0", `"array": 8`):                                                  `the rows are 1 to 1048576`,
		input("-1", `"array": 8`):                                                 `the rows are 1 to 1048576`,
		input("1048577", `"array": 8`):                                            `the rows are 1 to 1048576`,
		`{"kernel": "hash", "rows": 1, "inputs": [{"format": "+s", "array": 8}]}`: `input 0: `,
		`{"kernel": "hash", "rows": 1, "inputs": [` + strings.TrimSuffix(strings.Repeat(`{"format": "u"},`, 5000), ",") + `]}`: `the inputs at most`,
	} {
		if said, err := ask(text); err != nil || !strings.Contains(said, want) || !strings.Contains(said, `"error"`) {
			t.Errorf("%.80s: %q, %v; want %q", text, said, err, want)
		}
	}
	for text, want := range map[string]string{
		input("1", `"array": 0`):          `input 0: array: the pointer is 0`,
		input("1", `"array": 12`):         `input 0: array: address 12 is not aligned to 8`,
		input("1", `"array": 4294967288`): `beyond the`,
		input("7", `"array": 8`):          `input 0: length`,
		`!24`:                             `kernel_result was called without a result waiting`,
	} {
		_, err := ask(text)
		wantError(t, err, KindContract, want)
		var e *Error
		if errors.As(err, &e) && strings.Contains(e.Message, "goroutine") {
			t.Errorf("%s: the error is a crash: %v", text, err)
		}
	}
	wantAlive(t, h)
}
