package capsule

import (
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/leat-etl/leat/engine/batch"
)

// nothing is n nulls.
func nothing(t arrow.DataType, n int) arrow.Array {
	return array.MakeArrayOfNull(memory.DefaultAllocator, t, n)
}

// maskCells returns b with other values of the same shape: a letter becomes x
// or X, a digit 9, everything else of a text stays; bytes become x, numbers and
// times zero. Null and absent stay.
func maskCells(b *batch.Batch) *batch.Batch {
	out := *b
	arrays := make([]arrow.Array, len(b.Schema.Columns))
	for i := range arrays {
		arrays[i] = maskColumn(b.Rows.Column(i))
	}
	return withRows(&out, arrays)
}

func maskColumn(a arrow.Array) arrow.Array {
	data := a.Data()
	buffers := slices.Clone(data.Buffers())
	switch a := a.(type) {
	case *array.String:
		values := array.NewStringBuilder(memory.DefaultAllocator)
		defer values.Release()
		for i := range a.Len() {
			if a.IsNull(i) {
				values.AppendNull()
			} else {
				values.Append(maskText(a.Value(i)))
			}
		}
		return values.NewArray()
	case *array.Binary:
		masked := make([]byte, buffers[2].Len())
		for i := range masked {
			masked[i] = 'x'
		}
		buffers[2] = memory.NewBufferBytes(masked)
	default:
		if buffers[1] != nil {
			buffers[1] = memory.NewBufferBytes(make([]byte, buffers[1].Len()))
		}
	}
	masked := array.NewData(a.DataType(), a.Len(), buffers, nil, data.NullN(), data.Offset())
	defer masked.Release()
	return array.MakeFromData(masked)
}

// maskText keeps the length in bytes: what a plugin does may depend on it.
func maskText(s string) string {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		n := utf8.RuneLen(r)
		switch {
		case unicode.IsDigit(r) && n == 1:
			out = append(out, '9')
		case unicode.IsUpper(r):
			out = append(out, "XXXX"[:n]...)
		case unicode.IsLetter(r) || n > 1:
			out = append(out, "xxxx"[:n]...)
		default:
			out = append(out, byte(r))
		}
	}
	return string(out)
}
