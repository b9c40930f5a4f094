package wasm

import (
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"

	"github.com/leat-etl/leat/engine/batch"
)

const microsPerDay = 86_400_000_000

// checkDomain refuses values that the type cannot have: decimals with too many
// digits and times outside the day. Null cells may hold anything.
func checkDomain(t arrow.DataType, data, valid []byte) error {
	var fits func(v []byte) bool
	width := 8
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		width = 16
		fits = func(v []byte) bool {
			d := decimal128.New(int64(binary.LittleEndian.Uint64(v[8:])), binary.LittleEndian.Uint64(v))
			return d == batch.NaN128 || d.FitsInPrecision(t.Precision)
		}
	case *arrow.Decimal256Type:
		width = 32
		fits = func(v []byte) bool {
			w := binary.LittleEndian.Uint64
			d := decimal256.New(w(v[24:]), w(v[16:]), w(v[8:]), w(v))
			return d == batch.NaN256 || d.FitsInPrecision(t.Precision)
		}
	case *arrow.Time64Type:
		fits = func(v []byte) bool { return binary.LittleEndian.Uint64(v) <= microsPerDay }
	default:
		return nil
	}
	for row := 0; row*width < len(data); row++ {
		if (valid == nil || batch.Bitmap(valid).Get(row)) && !fits(data[row*width:]) {
			return fmt.Errorf("data: row %d is outside the range of %s", row, t)
		}
	}
	return nil
}
