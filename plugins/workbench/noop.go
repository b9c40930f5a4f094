package workbench

import (
	"encoding/json"
	"fmt"

	"github.com/leat-etl/leat/engine/batch"
)

// noop assembles the transform that does nothing: it asks for the same columns
// as the plugin it is compared with, and lets every row pass. What it costs is
// the way into the sandbox and back. room is the bytes of the largest input.
func noop(s *batch.Schema, sees []string, room uint64) ([]byte, error) {
	reply, err := noopReply(s, sees)
	if err != nil {
		return nil, err
	}
	const replyAt = 1024
	resultAt := (replyAt + len(reply) + 7) &^ 7
	inputAt := resultAt + 64
	pages := (uint64(inputAt)+room)>>16 + 1
	packed := int64(replyAt)<<32 | int64(len(reply))
	const (
		getLocal, constI32, constI64, loadI32, storeI32, end = 0x20, 0x41, 0x42, 0x28, 0x36, 0x0b
	)
	body := func(code ...[]byte) []byte { // no locals
		out := []byte{0}
		for _, c := range code {
			out = append(out, c...)
		}
		return sized(append(out, end))
	}
	i32 := func(n int) []byte { return signed([]byte{constI32}, int64(n)) }
	module := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, parts ...[]byte) {
		content := unsigned(nil, uint64(len(parts)))
		for _, p := range parts {
			content = append(content, p...)
		}
		module = append(append(module, id), sized(content)...)
	}
	section(1, []byte("\x60\x00\x01\x7f"), []byte("\x60\x01\x7f\x01\x7f"), []byte("\x60\x02\x7f\x7f\x01\x7e")) // () i32, (i32) i32, (i32 i32) i64
	section(3, []byte{0}, []byte{1}, []byte{2}, []byte{1})
	section(5, unsigned([]byte{0}, pages))
	export := func(name string, kind, index byte) []byte { return append(sized([]byte(name)), kind, index) }
	section(7, export("memory", 2, 0), export("leat_abi_version", 0, 0), export("leat_alloc", 0, 1), export("leat_plan", 0, 2), export("leat_process", 0, 3))
	section(10,
		body(i32(1)), body(i32(inputAt)), body(signed([]byte{constI64}, packed)),
		body(i32(resultAt), []byte{getLocal, 0, loadI32, 2, 4, storeI32, 2, 8}, i32(resultAt)))
	section(11, append(append([]byte{0}, append(i32(replyAt), end)...), sized(reply)...))
	return module, nil
}

// noopReply is the reply to leat_plan.
func noopReply(s *batch.Schema, sees []string) ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var table struct {
		Table   json.RawMessage
		Columns []map[string]any
	}
	if err := json.Unmarshal(text, &table); err != nil {
		return nil, err
	}
	for i, c := range table.Columns {
		c["from"] = map[string]int{"column": i}
	}
	needs := make([]int, len(sees))
	for i, name := range sees {
		if needs[i] = s.Column(name); needs[i] < 0 {
			return nil, fmt.Errorf("the plan sees column %q, which the table has not", name)
		}
	}
	output := map[string]any{"table": table.Table, "columns": table.Columns}
	return json.Marshal(map[string]any{"ok": map[string]any{"needs": needs, "computed": []string{}, "filters": true, "outputs": []any{output}}})
}

// unsigned and signed append numbers as the binary format has them; sized puts
// the length before.
func unsigned(b []byte, n uint64) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func signed(b []byte, n int64) []byte {
	for n < -64 || n > 63 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n)&0x7f)
}

func sized(b []byte) []byte { return append(unsigned(nil, uint64(len(b))), b...) }
