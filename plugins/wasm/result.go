package wasm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/kernel"
)

// maxRows bounds the rows of a batch that a guest makes.
const maxRows = 1 << 20

// maxMessage bounds the message of a row error.
const maxMessage = 4096

// window is the checked stretch of memory [at, at+size), aligned to align.
func window(memory []byte, at uint32, size uint64, align uint32, what string) ([]byte, error) {
	if at == 0 {
		return nil, fmt.Errorf("%s: the pointer is 0", what)
	}
	if at%align != 0 {
		return nil, fmt.Errorf("%s: address %d is not aligned to %d", what, at, align)
	}
	if uint64(at)+size > uint64(len(memory)) {
		return nil, fmt.Errorf("%s: %d bytes at address %d are beyond the %d bytes of memory", what, size, at, len(memory))
	}
	return memory[at : uint64(at)+size : uint64(at)+size], nil
}

// result is what leat_process returned, checked and copied out of the guest.
type result struct {
	rows      int
	columns   []arrow.Array
	present   []batch.Bitmap
	selection []int32 // nil: the input rows
	routes    []int32 // nil: all to output 0
	failed    map[int]string
	copied    uint64          // bytes out of the guest
	kernels   []kernel.Column // what the host computed, by kernel of the plan
	allowance *allowance      // what the host may still make of the batch
}

// resultShape is what a plan and a batch allow a result to be.
type resultShape struct {
	inputRows int
	computed  []arrow.DataType
	filters   bool
	outputs   int
}

// resultReader reads one result. What it has copied is bounded by the size of
// the guest's memory, so that overlapping buffers cannot multiply.
type resultReader struct {
	memory []byte
	budget uint64
	shape  resultShape
}

// readResult reads the result at address at. reply is set instead of the
// result if the guest reports an error.
func readResult(memory []byte, at uint32, shape resultShape) (out *result, reply []byte, err error) {
	r := &resultReader{memory: memory, budget: uint64(len(memory)), shape: shape}
	head, err := window(memory, at, resultSize, 4, "result")
	if err != nil {
		return nil, nil, err
	}
	field := func(at int) uint32 { return binary.LittleEndian.Uint32(head[at:]) }
	if field(0) != 0 {
		reply, err := replyBytes(memory, field(0), field(4))
		return nil, append([]byte(nil), reply...), err
	}
	out = &result{rows: int(field(8))}
	if field(8) > maxRows {
		return nil, nil, fmt.Errorf("result: %d rows are more than %d", field(8), maxRows)
	}
	if int(field(12)) != len(shape.computed) || uint64(field(12)) > maxColumns {
		return nil, nil, fmt.Errorf("result: %d columns, the plan computes %d", field(12), len(shape.computed))
	}
	if err := r.rowChoice(out, field(24), field(28)); err != nil {
		return nil, nil, err
	}
	if out.failed, err = r.rowErrors(field(32), field(36)); err != nil {
		return nil, nil, err
	}
	if err := r.columns(out, field(16), field(20)); err != nil {
		return nil, nil, err
	}
	out.copied = r.copied()
	return out, nil, nil
}

// copied is how many bytes were copied so far.
func (r *resultReader) copied() uint64 { return uint64(len(r.memory)) - r.budget }

func (r *resultReader) copy(at uint32, size uint64, align uint32, what string) ([]byte, error) {
	w, err := window(r.memory, at, size, align, what)
	if err != nil {
		return nil, err
	}
	if size > r.budget {
		return nil, fmt.Errorf("%s: the result's buffers overlap, they add up to more than the memory", what)
	}
	r.budget -= size
	return append(make([]byte, 0, size), w...), nil
}

// rowChoice reads selection and routes.
func (r *resultReader) rowChoice(out *result, selection, routes uint32) error {
	if selection == 0 {
		if out.rows != r.shape.inputRows {
			return fmt.Errorf("result: %d rows without a selection, the input has %d", out.rows, r.shape.inputRows)
		}
	} else {
		if !r.shape.filters && r.shape.outputs < 2 {
			return errors.New("result: a selection, but the plan does not filter")
		}
		raw, err := r.copy(selection, uint64(out.rows)*4, 4, "selection")
		if err != nil {
			return err
		}
		out.selection = int32sOf(raw)
		before := int32(0)
		for i, row := range out.selection {
			if row < before || int(row) >= r.shape.inputRows {
				return fmt.Errorf("selection: output row %d comes from row %d of %d after row %d", i, row, r.shape.inputRows, before)
			}
			before = row
		}
	}
	if routes == 0 {
		if r.shape.outputs > 1 {
			return errors.New("result: the plan has several outputs but the rows no routes")
		}
		return nil
	}
	raw, err := r.copy(routes, uint64(out.rows)*4, 4, "routes")
	if err != nil {
		return err
	}
	out.routes = int32sOf(raw)
	for i, to := range out.routes {
		if to < 0 || int(to) >= r.shape.outputs {
			return fmt.Errorf("routes: row %d goes to output %d of %d", i, to, r.shape.outputs)
		}
	}
	return nil
}

func int32sOf(raw []byte) []int32 {
	if len(raw) == 0 {
		return []int32{}
	}
	return arrow.Int32Traits.CastFromBytes(raw)
}

func (r *resultReader) rowErrors(n, at uint32) (map[int]string, error) {
	if n == 0 {
		return nil, nil
	}
	if int(n) > r.shape.inputRows {
		return nil, fmt.Errorf("errors: %d for %d rows", n, r.shape.inputRows)
	}
	table, err := window(r.memory, at, uint64(n)*errorEntrySize, 4, "errors")
	if err != nil {
		return nil, err
	}
	failed := make(map[int]string, n)
	for ; len(table) > 0; table = table[errorEntrySize:] {
		row, size := binary.LittleEndian.Uint32(table), binary.LittleEndian.Uint32(table[8:])
		if int64(row) >= int64(r.shape.inputRows) {
			return nil, fmt.Errorf("errors: row %d of %d", row, r.shape.inputRows)
		}
		if size > maxMessage {
			return nil, fmt.Errorf("errors: a message of %d bytes is larger than %d", size, maxMessage)
		}
		text := "the plugin reported an error without a message"
		if size > 0 {
			raw, err := r.copy(binary.LittleEndian.Uint32(table[4:]), uint64(size), 1, "error message")
			if err != nil {
				return nil, err
			}
			if text = string(raw); !utf8.ValidString(text) {
				return nil, errors.New("error message: not valid UTF-8")
			}
		}
		failed[int(row)] = text
	}
	return failed, nil
}

func (r *resultReader) columns(out *result, at, presence uint32) error {
	n := len(r.shape.computed)
	if n == 0 {
		return nil
	}
	root, err := window(r.memory, at, arraySize, 8, "array")
	if err != nil {
		return err
	}
	if length, children := word(root, 0), word(root, 32); length != uint64(out.rows) || children != uint64(n) {
		return fmt.Errorf("array: length %d and %d children, expected %d and %d", length, children, out.rows, n)
	}
	children, err := window(r.memory, binary.LittleEndian.Uint32(root[44:]), 4*uint64(n), 4, "children")
	if err != nil {
		return err
	}
	var maps []byte
	if presence != 0 {
		if maps, err = window(r.memory, presence, 4*uint64(n), 4, "presence"); err != nil {
			return err
		}
	}
	for k, t := range r.shape.computed {
		var present uint32
		if maps != nil {
			present = binary.LittleEndian.Uint32(maps[4*k:])
		}
		a, p, err := r.column(t, out.rows, binary.LittleEndian.Uint32(children[4*k:]), present)
		if err != nil {
			return fmt.Errorf("computed column %d: %w", k, err)
		}
		out.columns, out.present = append(out.columns, a), append(out.present, p)
	}
	return nil
}

func word(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

// column reads one ArrowArray of the given type.
func (r *resultReader) column(t arrow.DataType, rows int, at, presence uint32) (arrow.Array, batch.Bitmap, error) {
	head, err := window(r.memory, at, arraySize, 8, "array")
	if err != nil {
		return nil, nil, err
	}
	_, isText := t.(arrow.BinaryDataType)
	count := uint64(2)
	if isText {
		count = 3
	}
	switch {
	case word(head, 0) != uint64(rows):
		return nil, nil, fmt.Errorf("length %d, expected %d", int64(word(head, 0)), rows)
	case word(head, 16) != 0:
		return nil, nil, fmt.Errorf("offset %d, expected 0", int64(word(head, 16)))
	case word(head, 24) != count || word(head, 32) != 0:
		return nil, nil, fmt.Errorf("%d buffers and %d children, expected %d and 0", int64(word(head, 24)), int64(word(head, 32)), count)
	case binary.LittleEndian.Uint32(head[48:]) != 0:
		return nil, nil, errors.New("it has a dictionary")
	}
	pointers, err := window(r.memory, binary.LittleEndian.Uint32(head[40:]), 4*count, 4, "buffers")
	if err != nil {
		return nil, nil, err
	}
	buffer := func(i int) uint32 { return binary.LittleEndian.Uint32(pointers[4*i:]) }
	valid, present, err := r.bitmaps(rows, buffer(0), presence)
	if err != nil {
		return nil, nil, err
	}
	nulls := rows
	if valid == nil {
		nulls = 0
	} else {
		nulls -= countBits(valid, rows)
	}
	bufs := []*memory.Buffer{nil, nil}
	if valid != nil && nulls > 0 {
		bufs[0] = memory.NewBufferBytes(valid)
	}
	if isText {
		offsets, text, err := r.text(t, rows, buffer(1), buffer(2))
		if err != nil {
			return nil, nil, err
		}
		bufs = []*memory.Buffer{bufs[0], memory.NewBufferBytes(offsets), memory.NewBufferBytes(text)}
	} else if bufs[1], err = r.fixed(t, rows, buffer(1), valid); err != nil {
		return nil, nil, err
	}
	data := array.NewData(t, rows, bufs, nil, nulls, 0)
	defer data.Release()
	return array.MakeFromData(data), present, nil
}

// bitmaps reads validity and presence. What is absent is made null too.
func (r *resultReader) bitmaps(rows int, validAt, presentAt uint32) (valid []byte, present batch.Bitmap, err error) {
	size := uint64(rows+7) / 8
	if validAt != 0 && rows > 0 {
		if valid, err = r.copy(validAt, size, 1, "validity"); err != nil {
			return nil, nil, err
		}
	}
	if presentAt == 0 || rows == 0 {
		return valid, nil, nil
	}
	if present, err = r.copy(presentAt, size, 1, "presence"); err != nil {
		return nil, nil, err
	}
	if countBits(present, rows) == rows {
		return valid, nil, nil
	}
	if valid == nil {
		return append([]byte(nil), present...), present, nil
	}
	for i := range valid {
		valid[i] &= present[i]
	}
	return valid, present, nil
}

func countBits(m []byte, n int) int {
	total := 0
	for _, b := range m[:n/8] {
		total += bits.OnesCount8(b)
	}
	if n%8 != 0 {
		total += bits.OnesCount8(m[n/8] & (1<<(n%8) - 1))
	}
	return total
}

func (r *resultReader) text(t arrow.DataType, rows int, offsetsAt, dataAt uint32) (offsets, text []byte, err error) {
	if offsets, err = r.copy(offsetsAt, 4*uint64(rows+1), 4, "offsets"); err != nil {
		return nil, nil, err
	}
	starts := int32sOf(offsets)
	if starts[0] != 0 {
		return nil, nil, fmt.Errorf("offsets: the first is %d, expected 0", starts[0])
	}
	for i := range rows {
		if starts[i+1] < starts[i] {
			return nil, nil, fmt.Errorf("offsets: they decrease from %d to %d at row %d", starts[i], starts[i+1], i)
		}
	}
	size := starts[rows]
	if size == 0 {
		return offsets, nil, nil
	}
	if text, err = r.copy(dataAt, uint64(size), 1, "data"); err != nil {
		return nil, nil, err
	}
	if t.ID() != arrow.STRING {
		return offsets, text, nil
	}
	if !utf8.Valid(text) {
		return nil, nil, errors.New("data: not valid UTF-8")
	}
	for i, start := range starts[:rows] {
		if start < size && !utf8.RuneStart(text[start]) {
			return nil, nil, fmt.Errorf("offsets: row %d starts inside a UTF-8 sequence", i)
		}
	}
	return offsets, text, nil
}

func (r *resultReader) fixed(t arrow.DataType, rows int, at uint32, valid []byte) (*memory.Buffer, error) {
	if rows == 0 {
		return memory.NewBufferBytes([]byte{}), nil
	}
	width := t.(arrow.FixedWidthDataType).BitWidth()
	data, err := r.copy(at, uint64(rows*width+7)/8, uint32(max(1, min(8, width/8))), "data")
	if err != nil {
		return nil, err
	}
	return memory.NewBufferBytes(data), checkDomain(t, data, valid)
}
