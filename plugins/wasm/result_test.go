package wasm

import (
	"math"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/engine/batch"
)

var textShape = resultShape{inputRows: 2, computed: []arrow.DataType{arrow.BinaryTypes.String}, filters: true, outputs: 1}

func TestAGoodResultIsCopied(t *testing.T) {
	m := goodImage("")
	m.u32(buffersAt, dataAt+16) // validity: the second row is null
	m[dataAt+16] = 1
	m.u32(resultAt+20, errorsAt+64) // presence of the only column
	m.u32(errorsAt+64, errorsAt+72)
	m[errorsAt+72] = 3
	m.u32(resultAt+24, errorsAt+80) // selection
	m.u32(errorsAt+80, 1)
	m.u32(errorsAt+84, 1)
	m.u32(resultAt+32, 1)
	m.u32(resultAt+36, errorsAt)
	m.u32(errorsAt+4, dataAt)
	m.u32(errorsAt+8, 2)
	r, reply, err := readResult(m, resultAt, textShape)
	if err != nil || reply != nil {
		t.Fatal(err, reply)
	}
	clear(m)
	a := r.columns[0].(*array.String)
	if a.Len() != 2 || a.Value(0) != "ab" || !a.IsNull(1) || r.selection[0] != 1 || r.selection[1] != 1 || r.failed[0] != "ab" {
		t.Errorf("read %v, selection %v, failed %v", a, r.selection, r.failed)
	}
}

func TestResultsThatLie(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(image)
		text   string
	}{
		{"row count", func(m image) { m.u32(resultAt+8, 3) }, "3 rows without a selection, the input has 2"},
		{"too many rows", func(m image) { m.u32(resultAt+8, math.MaxUint32) }, "rows are more than"},
		{"column count", func(m image) { m.u32(resultAt+12, 2) }, "2 columns, the plan computes 1"},
		{"no array", func(m image) { m.u32(resultAt+16, 0) }, "array: the pointer is 0"},
		{"array not aligned", func(m image) { m.u32(resultAt+16, rootAt+4) }, "not aligned to 8"},
		{"array outside", func(m image) { m.u32(resultAt+16, math.MaxUint32-7) }, "beyond"},
		{"root length", func(m image) { m.u64(rootAt, 1) }, "length 1 and 1 children"},
		{"root children", func(m image) { m.u64(rootAt+32, math.MaxUint64) }, "children, expected 2 and 1"},
		{"children outside", func(m image) { m.u32(rootAt+44, math.MaxUint32-3) }, "children: 4 bytes"},
		{"child outside", func(m image) { m.u32(childrenAt, 1<<31) }, "beyond"},
		{"child length", func(m image) { m.u64(columnAt, math.MaxUint64) }, "length -1, expected 2"},
		{"child offset", func(m image) { m.u64(columnAt+16, 1) }, "offset 1, expected 0"},
		{"buffer count", func(m image) { m.u64(columnAt+24, 2) }, "2 buffers"},
		{"grandchildren", func(m image) { m.u64(columnAt+32, 1) }, "1 children"},
		{"dictionary", func(m image) { m.u32(columnAt+48, 8) }, "dictionary"},
		{"buffer table outside", func(m image) { m.u32(columnAt+40, math.MaxUint32-3) }, "buffers: 12 bytes"},
		{"validity outside", func(m image) { m.u32(buffersAt, math.MaxUint32) }, "validity: 1 bytes"},
		{"no offsets", func(m image) { m.u32(buffersAt+4, 0) }, "offsets: the pointer is 0"},
		{"offsets not aligned", func(m image) { m.u32(buffersAt+4, offsetsAt+1) }, "not aligned to 4"},
		{"first offset", func(m image) { m.u32(offsetsAt, 1) }, "the first is 1"},
		{"negative offset", func(m image) { m.u32(offsetsAt+4, math.MaxUint32) }, "decrease from 0 to -1"},
		{"falling offsets", func(m image) { m.u32(offsetsAt+8, 1) }, "decrease from 2 to 1"},
		{"offset outside", func(m image) { m.u32(offsetsAt+8, math.MaxInt32) }, "data: 2147483647 bytes"},
		{"no data", func(m image) { m.u32(buffersAt+8, 0) }, "data: the pointer is 0"},
		{"invalid UTF-8", func(m image) { m[dataAt] = 0xff }, "not valid UTF-8"},
		{"a value that ends inside a sequence", func(m image) { m.u32(offsetsAt+4, 3) }, "row 1 starts inside a UTF-8 sequence"},
		{"presence outside", func(m image) { m.u32(resultAt+20, math.MaxUint32-3) }, "presence: 4 bytes"},
		{"presence bitmap outside", func(m image) { m.u32(resultAt+20, errorsAt); m.u32(errorsAt, math.MaxUint32) }, "presence: 1 bytes"},
		{"selection outside", func(m image) { m.u32(resultAt+24, math.MaxUint32-3) }, "selection: 8 bytes"},
		{"selected row outside", func(m image) { m.u32(resultAt+24, errorsAt); m.u32(errorsAt+4, 2) }, "comes from row 2 of 2"},
		{"negative row", func(m image) { m.u32(resultAt+24, errorsAt); m.u32(errorsAt, math.MaxUint32) }, "comes from row -1"},
		{"selection out of order", func(m image) { m.u32(resultAt+24, errorsAt); m.u32(errorsAt, 1) }, "comes from row 0 of 2 after row 1"},
		{"route outside", func(m image) { m.u32(resultAt+28, errorsAt); m.u32(errorsAt, 1) }, "goes to output 1 of 1"},
		{"routes outside", func(m image) { m.u32(resultAt+28, math.MaxUint32-3) }, "routes: 8 bytes"},
		{"more errors than rows", func(m image) { m.u32(resultAt+32, 3) }, "errors: 3 for 2 rows"},
		{"errors outside", func(m image) { m.u32(resultAt+32, 1); m.u32(resultAt+36, math.MaxUint32-3) }, "errors: 12 bytes"},
		{"error row outside", func(m image) { m.u32(resultAt+32, 1); m.u32(resultAt+36, errorsAt); m.u32(errorsAt, 2) }, "errors: row 2 of 2"},
		{"long message", func(m image) { m.u32(resultAt+32, 1); m.u32(resultAt+36, errorsAt); m.u32(errorsAt+8, 4097) }, "larger than 4096"},
		{"message outside", func(m image) {
			m.u32(resultAt+32, 1)
			m.u32(resultAt+36, errorsAt)
			m.u32(errorsAt+4, math.MaxUint32)
			m.u32(errorsAt+8, 1)
		}, "error message: 1 bytes"},
		{"reply outside", func(m image) { m.u32(resultAt, 8); m.u32(resultAt+4, 1<<24) }, "reply: 16777216 bytes"},
		{"long reply", func(m image) { m.u32(resultAt, 8); m.u32(resultAt+4, 1<<24+1) }, "larger than 16777216"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := goodImage("")
			c.change(m)
			if _, _, err := readResult(m, resultAt, textShape); err == nil {
				t.Fatal("the result was accepted")
			} else {
				wantError(t, &Error{Kind: KindContract, Message: err.Error()}, KindContract, c.text)
			}
		})
	}
}

func TestSelectionsAndRoutesNeedThePlan(t *testing.T) {
	m := goodImage("")
	m.u32(resultAt+24, errorsAt)
	shape := textShape
	shape.filters = false
	if _, _, err := readResult(m, resultAt, shape); err == nil {
		t.Error("a selection was accepted although the plan does not filter")
	}
	shape.outputs = 2
	if _, _, err := readResult(m, resultAt, shape); err == nil {
		t.Error("rows without routes were accepted for two outputs")
	}
}

func TestOverlappingBuffersDoNotMultiply(t *testing.T) {
	// 2,000 columns that all point to the same 20,000 bytes.
	const columns, rows = 2000, 2500
	m := make(image, 1<<20)
	m.u32(64+8, rows)
	m.u32(64+12, columns)
	m.u32(64+16, 128)
	m.u64(128, rows)
	m.u64(128+32, columns)
	m.u32(128+44, 1024)
	for i := range columns {
		m.u32(1024+4*i, 192)
	}
	m.u64(192, rows)
	m.u64(192+24, 2)
	m.u32(192+40, 256)
	m.u32(256+4, 16384)
	shape := resultShape{inputRows: rows, outputs: 1}
	for range columns {
		shape.computed = append(shape.computed, arrow.PrimitiveTypes.Int64)
	}
	_, _, err := readResult(m, 64, shape)
	wantError(t, &Error{Kind: KindContract, Message: err.Error()}, KindContract, "buffers overlap")
}

func TestValuesOutsideTheirType(t *testing.T) {
	decimal := &arrow.Decimal128Type{Precision: 3, Scale: 1}
	for _, c := range []struct {
		typ   arrow.DataType
		words [2]uint64
		ok    bool
	}{
		{decimal, [2]uint64{999, 0}, true}, {decimal, [2]uint64{1000, 0}, false},
		{decimal, [2]uint64{math.MaxUint64 - 998, math.MaxUint64}, true}, {decimal, [2]uint64{math.MaxUint64 - 999, math.MaxUint64}, false},
		{decimal, [2]uint64{0, 1 << 63}, true}, {decimal, [2]uint64{1, 1 << 63}, false},
		{arrow.FixedWidthTypes.Time64us, [2]uint64{0, microsPerDay}, true}, {arrow.FixedWidthTypes.Time64us, [2]uint64{0, microsPerDay + 1}, false},
		{arrow.PrimitiveTypes.Int64, [2]uint64{math.MaxUint64, 1}, true},
	} {
		err := checkDomain(c.typ, arrow.Uint64Traits.CastToBytes(c.words[:]), nil)
		if (err == nil) != c.ok {
			t.Errorf("%s %v: %v", c.typ, c.words, err)
		}
	}
	if err := checkDomain(decimal, arrow.Uint64Traits.CastToBytes([]uint64{1000, 0}), []byte{0}); err != nil {
		t.Errorf("a null cell was checked: %v", err)
	}
}

func FuzzReadResult(f *testing.F) {
	m := goodImage("")[resultAt:]
	f.Add([]byte(m), uint32(0), uint8(2), uint8(0))
	f.Add([]byte(m), uint32(8), uint8(2), uint8(7))
	types := []arrow.DataType{
		arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int64,
		&arrow.Decimal128Type{Precision: 5, Scale: 2}, &arrow.Decimal256Type{Precision: 50, Scale: 2}, arrow.PrimitiveTypes.Int16, arrow.FixedWidthTypes.Time64us,
	}
	f.Fuzz(func(t *testing.T, memory []byte, at uint32, rows, kind uint8) {
		// The good result was cut out at resultAt: put it back there.
		whole := append(make([]byte, resultAt), memory...)
		shape := resultShape{inputRows: int(rows), computed: []arrow.DataType{types[kind%8]}, filters: kind&8 != 0, outputs: 1 + int(kind>>7)}
		r, _, err := readResult(whole, resultAt+at%64, shape)
		if err != nil || r == nil {
			return
		}
		if len(r.columns) != 1 || r.columns[0].Len() != r.rows {
			t.Fatalf("accepted %d columns for %d rows", len(r.columns), r.rows)
		}
		if a, ok := r.columns[0].(*array.String); ok {
			if err := a.ValidateFull(); err != nil {
				t.Fatal(err)
			}
		}
		for i := range r.rows {
			if p := r.present[0]; p != nil && !p.Get(i) && r.columns[0].IsValid(i) {
				t.Fatalf("row %d is absent and valid", i)
			}
			if row := r.inputRow(i); row < 0 || row >= int(rows) {
				t.Fatalf("row %d comes from %d", i, row)
			}
		}
		p := &Plan{Outputs: make([]*batch.Schema, shape.outputs), origins: make([][]origin, shape.outputs), wheres: slices.Repeat([]int{-1}, shape.outputs)}
		if _, err := p.choose(0, make([]batch.Op, rows), r); err != nil {
			t.Fatal(err)
		}
	})
}
