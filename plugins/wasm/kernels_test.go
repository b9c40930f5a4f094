package wasm

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
)

// kernelPlan is the reply of a plan of customers that leaves its work to
// kernels: x is taken from the first one.
func kernelPlan(kernels, format, rest string) string {
	return fmt.Sprintf(`{"ok": {"needs": [], "computed": [], "filters": false, "kernels": [%s], "outputs": [{"table": {"database": "d", "schema": "s", "name": "t"}%s, "columns": [
	{"name": "id", "format": "l", "pg_type": {"name": "int8", "oid": 20, "typmod": -1}, "nullable": false, "key": 1, "from": {"column": 0}},
	{"name": "x", "format": %q, "pg_type": {"name": "text", "oid": 25, "typmod": -1}, "nullable": true, "from": {"kernel": 0}}]}]}}`, kernels, rest, format)
}

func TestKernelsOfAPlanAreChecked(t *testing.T) {
	h := newHost(t)
	for _, c := range []struct{ name, reply, want string }{
		{"unknown kernel", kernelPlan(`{"kernel": "rm", "inputs": [{"column": 1}]}`, "u", ""), `kernel 0: there is no kernel "rm": this host has aes-siv, any, array-json`},
		{"unknown parameter", kernelPlan(`{"kernel": "hash", "inputs": [{"column": 1}], "parameters": {"slat": "x"}}`, "u", ""), `unknown field "slat"`},
		{"wrong parameter", kernelPlan(`{"kernel": "hash", "inputs": [{"column": 1}], "parameters": {"algorithm": "crc"}}`, "u", ""), `algorithm: "crc" is not sha256`},
		{"parameters of another kind", kernelPlan(`{"kernel": "hash", "inputs": [{"column": 1}], "parameters": [1]}`, "u", ""), `its parameters`},
		{"no input", kernelPlan(`{"kernel": "hash", "inputs": []}`, "u", ""), `it takes 1 inputs, the plan gives it 0`},
		{"column out of range", kernelPlan(`{"kernel": "hash", "inputs": [{"column": 4}]}`, "u", ""), `input 0 is column 4 of a table with 4`},
		{"negative column", kernelPlan(`{"kernel": "hash", "inputs": [{"column": -1}]}`, "u", ""), `input 0 is column -1`},
		{"itself", kernelPlan(`{"kernel": "hash", "inputs": [{"kernel": 0}]}`, "u", ""), `not before this one`},
		{"two origins", kernelPlan(`{"kernel": "hash", "inputs": [{"kernel": 0, "column": 1}]}`, "u", ""), `neither a column nor a kernel, or both`},
		{"wrong type", kernelPlan(`{"kernel": "array-json", "inputs": [{"column": 0}]}`, "u", ""), `it works on text, column "id" is int64`},
		{"wrong format", kernelPlan(`{"kernel": "hash", "inputs": [{"column": 1}]}`, "l", ""), `its format is not that of what it comes from`},
		{"no such kernel", kernelPlan(``, "u", ""), `it is kernel 0 of 0`},
		{"secret that is not given", kernelPlan(`{"kernel": "hmac", "inputs": [{"column": 1}], "parameters": {"key": {"setting": "key"}}}`, "u", ""), `the key is empty: give the plugin's setting "key"`},
		{"where without kernel", kernelPlan(`{"kernel": "hash", "inputs": [{"column": 1}]}`, "u", `, "where": 1`), `its rows are chosen by kernel 1 of 1`},
		{"where of text", kernelPlan(`{"kernel": "hash", "inputs": [{"column": 1}]}`, "u", `, "where": 0`), `whose result is utf8 and not bool`},
		{"a pattern that grows", kernelPlan(`{"kernel": "regex", "inputs": [{"column": 1}], "parameters": {"pattern": "`+strings.Repeat("x{1000}", 20)+`"}}`, "b", ""), `its repetitions compile to 20002 steps, the most are 10000`},
		{"an expression that grows", kernelPlan(`{"kernel": "expression", "inputs": [{"column": 1}], "parameters": {"as": "b", "source": "`+strings.TrimSuffix(strings.Repeat(`email matches 'x{1000}' or `, 20), " or ")+`"}}`, "b", ""), `its patterns compile to more than 10000 steps`},
		{"patterns that grow", kernelPlan(strings.TrimSuffix(strings.Repeat(`{"kernel": "regex", "inputs": [{"column": 1}], "parameters": {"pattern": "x{1000}y{1000}z{1000}"}},`, 50), ","), "b", ""), `compile to more than 100000 steps`},
		{"too many", kernelPlan(strings.TrimSuffix(strings.Repeat(`{},`, 4097), ","), "u", ""), `it has 4097 kernels, the most are 4096`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := mustLoad(t, h, withReply(c.reply)).Plan(context.Background(), PlanInput{Schema: customers("d")})
			wantError(t, err, KindContract, c.want)
			if strings.Contains(err.Error(), "pepper") {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

// withReply is a plugin whose reply may be of any size.
func withReply(reply string) code {
	c := good(`{}`)
	at := len(c.image)
	c.image = append(c.image, reply...)
	c.plan = i64const(int64(at)<<32 | int64(len(reply)))
	c.pages = byte(len(c.image)>>16 + 4)
	return c
}

func TestMethodsOfMask(t *testing.T) {
	h := newHost(t)
	s := customers("shop")
	rows := []row{{batch.Insert, 1, [3]string{"abc", "n", "{}"}}, {batch.Update, 2, [3]string{null, "n", "{}"}}, {batch.Update, 3, [3]string{absent, "n", "{}"}}, {batch.Insert, 4, [3]string{"ann@b@example.org", "n", "{}"}}}
	for _, c := range []struct{ config, salt, one, two string }{
		{`{"columns": ["email"]}`, ``, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", ""},
		{`{"columns": ["email"], "algorithm": "md5"}`, ``, "900150983cd24fb0d6963f7d28e17f72", ""},
		{`{"columns": ["email"], "algorithm": "sha1", "encoding": "base64"}`, ``, "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", ""},
		{`{"columns": ["email"], "algorithm": "xxh64"}`, ``, "44bc2cf5ad770999", ""},
		{`{"columns": ["email"]}`, `xx`, sha256Hex("xxabc"), sha256Hex("xxann@b@example.org")},
		{`{"columns": ["email"], "method": "hmac"}`, `Jefe`, hmacHex("Jefe", "abc"), hmacHex("Jefe", "ann@b@example.org")},
		{`{"columns": ["email"], "method": "redact"}`, ``, "***", "***"},
		{`{"columns": ["email"], "method": "redact", "text": ""}`, ``, "", ""},
		{`{"columns": ["email"], "method": "keep-domain"}`, ``, "***", "***@example.org"},
		{`{"columns": ["email"], "method": "keep-last", "keep": 3}`, ``, "***", "***org"},
		{`{"columns": ["email"], "method": "keep-first", "keep": 2}`, ``, "ab***", "an***"},
	} {
		secret := json.RawMessage(fmt.Sprintf("%q", c.salt))
		tr := transform(t, h, "../../transforms/mask", Plugin{Config: json.RawMessage(c.config), Settings: map[string]json.RawMessage{"salt": secret, "key": secret}})
		p := mustPlan(t, tr, PlanInput{Schema: s})
		out := mustProcess(t, tr, p, customerBatch(s, rows...)).Batches[0]
		lines := strings.Split(show(out), "\n")
		if lines[1] != "U|2|~|n|{}" || lines[2] != "U|3|?|n|{}" {
			t.Errorf("%s: null and absent became %s and %s", c.config, lines[1], lines[2])
		}
		one, two := strings.Split(lines[0], "|")[2], strings.Split(lines[3], "|")[2]
		if one != c.one || c.two != "" && two != c.two {
			t.Errorf("%s: got %q and %q, want %q and %q", c.config, one, two, c.one, c.two)
		}
		out.Release()
	}
}

func sha256Hex(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func hmacHex(key, text string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(text))
	return hex.EncodeToString(m.Sum(nil))
}

// TestTheKeyStaysInTheHost looks for the key in the memory of the guest.
func TestTheKeyStaysInTheHost(t *testing.T) {
	tr := transform(t, newHost(t), "../../transforms/mask", Plugin{Config: json.RawMessage(`{"columns": ["email"], "method": "hmac"}`),
		Settings: map[string]json.RawMessage{"key": json.RawMessage(`"a-key-nobody-may-see"`)}})
	s := customers("shop")
	mustProcess(t, tr, mustPlan(t, tr, PlanInput{Schema: s}), customerBatch(s, mixed...)).Batches[0].Release()
	for _, in := range tr.idle {
		memory := string(in.bytes())
		if strings.Contains(memory, "a-key-nobody-may-see") || !strings.Contains(memory, "hmac") {
			t.Error("the guest has the key in its memory, or the test looks in the wrong place")
		}
		if strings.Contains(memory, "ann@example.org") {
			t.Error("a value entered the guest")
		}
	}
}

// paid is a plan of two outputs, chosen by the note: notes that begin with one,
// and all others. The second has no note.
const paid = `{"ok": {"kernels": [
	{"kernel": "regex", "inputs": [{"column": 2}], "parameters": {"pattern": "^one"}},
	{"kernel": "regex", "inputs": [{"column": 2}], "parameters": {"pattern": "^[^o]"}},
	{"kernel": "json-path", "inputs": [{"column": 1}], "parameters": {"path": "$.a"}}],
	"outputs": [{"table": {"database": "d", "schema": "s", "name": "one"}, "where": 0, "columns": [
	{"name": "id", "format": "l", "pg_type": {"name": "int8"}, "key": KEY, "from": {"column": 0}},
	{"name": "email", "format": "u", "pg_type": {"name": "text"}, "nullable": true, "from": {"column": 1}},
	{"name": "note", "format": "u", "pg_type": {"name": "text"}, "nullable": true, "from": {"column": 2}}]},
	{"table": {"database": "d", "schema": "s", "name": "rest"}, "where": 1, "columns": [
	{"name": "id", "format": "l", "pg_type": {"name": "int8"}, "key": KEY, "from": {"column": 0}},
	{"name": "a", "format": "u", "pg_type": {"name": "text"}, "nullable": true, "from": {"kernel": 2}}]}]}}`

func TestWhereChoosesRows(t *testing.T) {
	tr := mustLoad(t, newHost(t), withReply(strings.ReplaceAll(paid, "KEY", "1")))
	p := mustPlan(t, tr, PlanInput{Schema: customers("d")})
	if !p.Native || len(p.Outputs) != 2 {
		t.Fatalf("the plan is %+v", p)
	}
	r := mustProcess(t, tr, p, customerBatch(customers("d"),
		row{batch.Insert, 1, [3]string{`{"a":1}`, "one", "{}"}},
		row{batch.Read, 2, [3]string{`{"a":2}`, "two", "{}"}},
		row{batch.Insert, 3, [3]string{`x`, null, "{}"}},  // nobody's, so it may be broken
		row{batch.Insert, 4, [3]string{`x`, "two", "{}"}}, // the second output needs JSON
		row{batch.Update, 5, [3]string{`{"a":5}`, "one b", "{}"}},
		row{batch.Update, 6, [3]string{`{"a":6}`, absent, "{}"}}, // whose?
		row{batch.Update, 7, [3]string{absent, "one", "{}"}},     // not whole, and perhaps new
		row{batch.Delete, 8, [3]string{absent, absent, absent}},
		row{batch.OldKey, 9, [3]string{absent, absent, absent}},
		row{batch.Update, 10, [3]string{`{"a":10}`, "two", "{}"}},
		row{batch.Delete, 11, [3]string{`secret`, "one", "{}"}},
	))
	wantRows(t, r.Batches[0], "I|1|{\"a\":1}|one", "U|5|{\"a\":5}|one b", "D|8|?|?", "D|9|?|?", "D|11|secret|one")
	wantRows(t, r.Batches[1], "R|2|2", "D|5|?", "D|8|?", "K|9|?", "U|10|10", "D|11|?")
	var failed []string
	for _, f := range r.Failed {
		failed = append(failed, fmt.Sprintf("%d: %s", f.Row, f.Message))
	}
	if len(failed) != 3 || failed[0] != "3: the value is not JSON" || !strings.HasPrefix(failed[1], "5: whether it belongs") || !strings.HasPrefix(failed[2], "6: the row may be new") {
		t.Errorf("failed rows are %q", failed)
	}
}

func TestWhereInATableWithoutKey(t *testing.T) {
	tr := mustLoad(t, newHost(t), withReply(strings.ReplaceAll(paid, "KEY", "0")))
	r := mustProcess(t, tr, mustPlan(t, tr, PlanInput{Schema: customers("d")}), customerBatch(customers("d"),
		row{batch.Delete, 1, [3]string{`{}`, "one", "{}"}},
		row{batch.OldKey, 2, [3]string{`{}`, "one", "{}"}},
		row{batch.Update, 2, [3]string{`{}`, "two", "{}"}},
		row{batch.OldKey, 3, [3]string{`{}`, "one", "{}"}},
		row{batch.Update, 3, [3]string{`{}`, "one b", "{}"}},
	))
	wantRows(t, r.Batches[0], "D|1|{}|one", "D|2|{}|one", "K|3|{}|one", "U|3|{}|one b")
	wantRows(t, r.Batches[1], "U|2|~")
}
