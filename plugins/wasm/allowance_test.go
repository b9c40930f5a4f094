package wasm

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/batch"
)

// manyRows is a batch of customers with a note of so many bytes in each row.
func manyRows(rows, bytes int) *batch.Batch {
	note := strings.Repeat("n", bytes)
	all := make([]row, rows)
	for i := range all {
		all[i] = row{batch.Insert, int64(i), [3]string{"a@b", note, "{}"}}
	}
	return customerBatch(customers("d"), all...)
}

// TestWhatAPluginHasTheHostMakeIsBounded: an answer of a few bytes can ask for
// gigabytes outside the guest, where its memory, fuel and deadline end.
func TestWhatAPluginHasTheHostMakeIsBounded(t *testing.T) {
	h := newHost(t)
	outputs := func(reply string, n int) string {
		head, rest, _ := strings.Cut(reply, `"outputs": [`)
		one := strings.TrimSuffix(rest, `]}}`)
		var all []string
		for i := range n {
			all = append(all, strings.Replace(one, `"name": "t"`, fmt.Sprintf(`"name": "t%d"`, i), 1))
		}
		return head + `"outputs": [` + strings.Join(all, ",") + `]}}`
	}
	// repeating answers leat_process with its first row n times; what it points
	// to is zeroes.
	repeating := func(n int) code {
		c := good(strings.Replace(computes, `{"computed": 0}}`, `{"computed": 0}}, {"name": "note", "format": "u", "pg_type": {"name": "text", "oid": 25, "typmod": -1}, "nullable": true, "from": {"column": 2}}`, 1))
		const zeroes = 32 << 10
		c.image.u32(resultAt+8, uint32(n))
		c.image.u32(resultAt+24, zeroes)
		c.image.u64(rootAt, uint64(n))
		c.image.u64(columnAt, uint64(n))
		c.image.u32(buffersAt+4, zeroes)
		c.pages = 16
		return c
	}
	long := strings.Repeat("x", 4000)
	replace := fmt.Sprintf(`{"kernel": "replace", "inputs": [{"column": 1}], "parameters": {"find": "@", "with": %q}}`, long)
	constant := strings.Replace(kernelPlan(`{"kernel": "trim", "inputs": [{"column": 1}]}`, "u", ""), `"from": {"kernel": 0}`, fmt.Sprintf(`"from": {"constant": %q}`, long), 1)
	every := kernelPlan(`{"kernel": "expression", "inputs": [], "parameters": {"source": "true", "as": "b"}}`, "b", `, "where": 0`)
	slow := strings.Repeat(`{"kernel": "regex", "inputs": [{"column": 2}], "parameters": {"pattern": "(?:n?){300}m"}},`, 50)
	for _, c := range []struct {
		name string
		code code
		rows *batch.Batch
		kind Kind
		text string
	}{
		{"a row repeated until its column has no room", repeating(100_000), manyRows(1, 30_000), KindMemory, "one of its columns would take 3000400000 bytes"},
		{"a row repeated", repeating(100_000), manyRows(1, 3000), KindMemory, "what it makes of the batch takes more than"},
		{"a constant", withReply(constant), manyRows(10_000, 1), KindMemory, "what it makes of the batch takes more than"},
		{"a kernel", withReply(kernelPlan(replace, "u", "")), manyRows(10_000, 1), KindMemory, "kernel replace: its results are larger"},
		{"many kernels", withReply(kernelPlan(strings.TrimSuffix(strings.Repeat(replace+",", 100), ","), "u", "")), manyRows(100, 1), KindMemory, "kernel replace: "},
		{"many outputs", withReply(outputs(every, 1000)), manyRows(10_000, 1), KindMemory, "what it makes of the batch takes more than"},
		{"slow kernels", withReply(kernelPlan(strings.TrimSuffix(slow, ","), "b", "")), manyRows(1000, 1000), KindDeadline, "kernel regex: the kernels of the plan take more than 50ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			limits := hostileLimits
			limits.MemoryBytes = 4 << 20 // for the plans
			switch {
			case c.kind == KindDeadline:
				limits.Deadline = 50 * time.Millisecond
			case strings.Contains(c.name, "no room"):
				limits.MemoryBytes = 4 << 30
			}
			tr, err := h.Transform(context.Background(), c.code.bytes(), Plugin{Name: "hostile", Version: "6.6.6", Limits: limits})
			if err != nil {
				t.Fatal(err)
			}
			_, err = tr.Process(context.Background(), mustPlan(t, tr, PlanInput{Schema: customers("d")}), c.rows)
			wantError(t, err, c.kind, c.text)
		})
	}
	wantAlive(t, h)
}

// TestPlansOfManyTablesAreBounded: what a plugin answers for each of thousands of
// tables stays in the host.
func TestPlansOfManyTablesAreBounded(t *testing.T) {
	h := newHost(t)
	var columns []string
	for i := range 40 {
		columns = append(columns, fmt.Sprintf(`{"name": "c%d", "format": "u", "nullable": true, "from": {"null": true}}`, i))
	}
	reply := `{"ok": {"needs": [], "computed": [], "filters": false, "outputs": [{"table": {"name": "t"}, "columns": [` + strings.Join(columns, ",") + `]}]}}`
	patterns := kernelPlan(strings.TrimSuffix(strings.Repeat(`{"kernel": "regex", "inputs": [{"column": 1}], "parameters": {"pattern": "(?:n?){900}m"}},`, 10), ","), "b", "")
	for name, reply := range map[string]string{"columns": reply, "patterns": patterns} {
		c := good(reply)
		copy(c.image[secondAt:], reply) // the place of a longer text
		c.plan = i64const(secondAt<<32 | int64(len(reply)))
		tr, err := h.Transform(context.Background(), c.bytes(), Plugin{Name: "hostile", Version: "6.6.6", Limits: hostileLimits})
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; err == nil && i < 10_000; i++ {
			_, err = tr.Plan(context.Background(), PlanInput{Schema: customers(fmt.Sprint("d", i))})
		}
		wantError(t, err, KindMemory, "with this table its plans take ")
		if !strings.Contains(err.Error(), "customers") {
			t.Errorf("%s: %v does not name the table", name, err)
		}
	}
	wantAlive(t, h)
}
