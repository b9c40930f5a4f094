package wasm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
)

// chosen prints a choice as op, input row and guest row.
func chosen(c *choice) string {
	var s []string
	for i := range c.in {
		s = append(s, fmt.Sprintf("%c%d/%d", c.ops[i], c.in[i], c.computed[i]))
	}
	return strings.Join(s, " ")
}

func TestPairsStayTogether(t *testing.T) {
	keyed := &batch.Schema{Columns: []batch.Column{{Name: "id", Key: 1}}}
	one := &Plan{Outputs: []*batch.Schema{keyed}, origins: [][]origin{{{}}}, wheres: []int{-1}}
	two := &Plan{Outputs: []*batch.Schema{keyed, keyed}, origins: [][]origin{{{}}, {{}}}, wheres: []int{-1, -1}}
	whole := &Plan{Outputs: []*batch.Schema{{}}, origins: [][]origin{nil}, wheres: []int{-1}}
	for _, c := range []struct {
		name      string
		plan      *Plan
		output    int
		ops       string
		selection []int32
		routes    []int32
		failed    map[int]string
		want      string
	}{
		{"all kept", one, 0, "IKUD", []int32{0, 1, 2, 3}, nil, nil, "I0/0 K1/1 U2/2 D3/3"},
		{"nothing selected", one, 0, "IUD", []int32{}, nil, nil, ""},
		{"update filtered: the key is deleted", one, 0, "IKU", []int32{0, 1}, nil, nil, "I0/0 D1/1"},
		{"old key filtered: it is kept", one, 0, "KUI", []int32{1, 2}, nil, nil, "K0/-1 U1/0 I2/1"},
		{"both filtered: the key is deleted", one, 0, "KUI", []int32{2}, nil, nil, "D0/-1 I2/0"},
		{"both repeated", one, 0, "KU", []int32{0, 0, 1, 1}, nil, nil, "K0/0 U1/2 K0/1 U1/3"},
		{"fewer new rows", one, 0, "KU", []int32{0, 0, 1}, nil, nil, "K0/0 U1/2 D0/1"},
		{"more new rows", one, 0, "KU", []int32{0, 1, 1}, nil, nil, "K0/0 U1/1 U1/2"},
		{"moved away", two, 0, "KU", []int32{0, 1}, []int32{0, 1}, nil, "D0/0"},
		{"moved here", two, 1, "KU", []int32{0, 1}, []int32{0, 1}, nil, "K0/-1 U1/1"},
		{"old row filtered: it never was there", whole, 0, "KUI", []int32{1, 2}, nil, nil, "U1/0 I2/1"},
		{"old and new row filtered", whole, 0, "KUI", []int32{2}, nil, nil, "I2/0"},
		{"new row filtered: the old one is deleted", whole, 0, "KU", []int32{0}, nil, nil, "D0/0"},
		{"one to many", one, 0, "IU", []int32{0, 0, 1}, nil, nil, "I0/0 I0/1 U1/2"},
		{"a failed row leaves", one, 0, "IUI", []int32{0, 1, 2}, nil, map[int]string{1: "x"}, "I0/0 I2/2"},
		{"a failed update takes its key along", one, 0, "KUI", nil, nil, map[int]string{1: "x"}, "I2/2"},
		{"a failed key takes its update along", one, 0, "IKU", nil, nil, map[int]string{1: "x"}, "I0/0"},
	} {
		ops := make([]batch.Op, len(c.ops))
		for i := range ops {
			ops[i] = batch.Op(c.ops[i])
		}
		r := &result{rows: len(c.selection), selection: c.selection, routes: c.routes, failed: c.failed}
		if c.selection == nil {
			r.rows = len(ops)
		}
		r.failPairs(ops)
		got, err := c.plan.choose(c.output, ops, r)
		if err != nil || chosen(got) != c.want {
			t.Errorf("%s: %s, %v, want %s", c.name, chosen(got), err, c.want)
		}
	}
}

func TestAComputedKeyNeedsItsOldKey(t *testing.T) {
	p := &Plan{Outputs: []*batch.Schema{{Columns: []batch.Column{{Name: "id", Key: 1}}}}, origins: [][]origin{{{kind: fromComputed}}}, wheres: []int{-1}}
	_, err := p.choose(0, []batch.Op{batch.OldKey, batch.Update}, &result{rows: 1, selection: []int32{1}})
	if err == nil || !strings.Contains(err.Error(), `key column "id" is computed`) {
		t.Errorf("error is %v", err)
	}
}
