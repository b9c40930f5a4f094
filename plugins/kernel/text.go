package kernel

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/leat-etl/leat/engine/batch"
)

// mapper appends what becomes of one value to dst. The kernels that map text
// make one for each run, so that it may keep a buffer.
type mapper func(dst, value []byte) ([]byte, error)

// mapsText is a kernel of one input whose result is text.
func mapsText(start func() mapper) *Kernel {
	return &Kernel{Output: arrow.BinaryTypes.String, run: func(in []Column, rows int, out *result) error {
		return mapText(in[0], rows, start(), out)
	}}
}

// mapsTextWithin is mapsText for mappers that make or do much with one value:
// they end with ErrTooLarge before dst has more than the bytes of out, or with
// ErrTooLong.
func mapsTextWithin(start func(out *result) mapper) *Kernel {
	return &Kernel{Output: arrow.BinaryTypes.String, run: func(in []Column, rows int, out *result) error {
		return mapText(in[0], rows, start(out), out)
	}}
}

// values reads the cells of a column as text: those of a text or binary column
// as they are, others as PostgreSQL prints them.
func values(a arrow.Array) (func(row int) []byte, int, error) {
	switch a.DataType().ID() {
	case arrow.STRING, arrow.BINARY:
		d := a.Data()
		if d.Len() == 0 {
			return nil, 0, nil
		}
		offsets := arrow.Int32Traits.CastFromBytes(d.Buffers()[1].Bytes())[d.Offset() : d.Offset()+d.Len()+1]
		var data []byte
		if b := d.Buffers()[2]; b != nil {
			data = b.Bytes()
		}
		return func(row int) []byte { return data[offsets[row]:offsets[row+1]] }, int(offsets[d.Len()] - offsets[0]), nil
	}
	text, err := batch.TextOf(a)
	if err != nil {
		return nil, 0, err
	}
	var cell []byte
	return func(row int) []byte {
		cell = text(cell[:0], row)
		return cell
	}, 16 * a.Len(), nil
}

// mapText fills the result with what f makes of each value of in.
func mapText(in Column, rows int, f mapper, out *result) error {
	value, size, err := values(in.Array)
	if err != nil {
		return err
	}
	t := newTextBuilder(in, rows, size)
	nulls := in.Array.NullN() > 0
	for row := range rows {
		if nulls && in.Array.IsNull(row) {
			t.end(row)
			continue
		}
		cell := value(row)
		if err := out.inTime(len(cell), 1); err != nil {
			return err
		}
		data, err := f(t.data, cell)
		switch {
		case err == errNull:
			t.null(row)
			continue
		case err == ErrTooLarge, err == ErrTooLong:
			return err
		case err != nil:
			out.fail(row, err)
			t.drop(row)
			continue
		}
		t.data = data
		if len(t.data) > out.Bytes {
			return ErrTooLarge
		}
		t.end(row)
	}
	out.column = t.finish()
	return nil
}

// textBuilder fills a text column that has the states of another.
type textBuilder struct {
	in      Column
	rows    int
	offsets []int32
	data    []byte
	valid   batch.Bitmap // nil: those of in
	present batch.Bitmap
	nulls   int
}

func newTextBuilder(in Column, rows, size int) *textBuilder {
	return &textBuilder{in: in, rows: rows, offsets: make([]int32, rows+1), data: make([]byte, 0, size+size/4+64), present: in.Present, nulls: in.Array.NullN()}
}

func (t *textBuilder) end(row int) { t.offsets[row+1] = int32(len(t.data)) }

// own makes the states of the result its own.
func (t *textBuilder) own() {
	if t.valid != nil {
		return
	}
	t.valid = batch.NewBitmap(t.rows)
	for row := range t.rows {
		if t.in.Array.IsValid(row) {
			t.valid.Set(row)
		}
	}
	if t.present != nil {
		t.present = slices.Clone(t.present)
		return
	}
	t.present = batch.NewBitmap(t.rows)
	for i := range t.present {
		t.present[i] = 0xff
	}
}

// drop makes a row absent whose value could not be computed.
func (t *textBuilder) drop(row int) {
	t.own()
	t.valid.Clear(row)
	t.present.Clear(row)
	t.nulls++
	t.end(row)
}

// null makes a row null that has a value in the input.
func (t *textBuilder) null(row int) {
	t.own()
	t.valid.Clear(row)
	t.nulls++
	t.end(row)
}

func (t *textBuilder) finish() Column {
	if t.nulls > 0 && t.valid == nil {
		t.valid = batch.NewBitmap(t.rows)
		from := t.in.Array.Data()
		if from.Offset() == 0 {
			copy(t.valid, from.Buffers()[0].Bytes())
		} else {
			for row := range t.rows {
				if t.in.Array.IsValid(row) {
					t.valid.Set(row)
				}
			}
		}
	}
	var valid *memory.Buffer
	if t.nulls > 0 {
		valid = memory.NewBufferBytes(t.valid)
	}
	buffers := []*memory.Buffer{valid, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(t.offsets)), memory.NewBufferBytes(t.data)}
	d := array.NewData(arrow.BinaryTypes.String, t.rows, buffers, nil, t.nulls, 0)
	defer d.Release()
	return Column{array.MakeFromData(d), t.present}
}
