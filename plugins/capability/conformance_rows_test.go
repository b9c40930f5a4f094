package capability

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"

	"github.com/leat-etl/leat/engine/batch"
)

func decimalType(p, s int32) arrow.DataType { return &arrow.Decimal128Type{Precision: p, Scale: s} }

// everyColumn has each type that a batch may contain.
func everyColumn() *batch.Schema {
	types := []arrow.DataType{
		arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64,
		arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64, arrow.BinaryTypes.String,
		arrow.BinaryTypes.Binary, arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Time64us,
		&arrow.TimestampType{Unit: arrow.Microsecond}, arrow.FixedWidthTypes.Timestamp_us,
		&arrow.FixedSizeBinaryType{ByteWidth: 16}, decimalType(12, 2), decimalType(38, 10),
		&arrow.Decimal256Type{Precision: 76, Scale: 20}, arrow.BinaryTypes.String,
	}
	s := &batch.Schema{Table: batch.TableID{Database: "d", Schema: "public", Name: "every"}, Version: 1}
	for i, t := range types {
		s.Columns = append(s.Columns, batch.Column{Name: fmt.Sprintf(`c "%d"`, i), Type: t, Nullable: true, PG: batch.PGType{Typmod: -1}})
	}
	return s
}

func date(year int64, month, day int) int64 { return fromCivil(year, month, day) }

// everyRow appends rows with extremes and nulls.
func everyRow() *batch.Batch {
	s := everyColumn()
	b := batch.NewBuilder(s)
	fixed := func(n *big.Int, width int) []byte {
		if width == 16 {
			v := decimal128.FromBigInt(n)
			return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, v.LowBits()), uint64(v.HighBits()))
		}
		return words(decimal256.FromBigInt(n))
	}
	num := func(text string) *big.Int { n, _ := new(big.Int).SetString(text, 10); return n }
	const nines = "9999999999999999999999999999999999999999999999999999999999999999999999999999"
	ts := func(days, micros int64) uint64 { return uint64(days*microsPerDay + micros) }
	rows := []struct {
		flag          bool
		i16           int16
		i32           int32
		i64           int64
		u32           uint32
		f32           float32
		f64           float64
		text, raw     string
		days, clock   int64
		at, atUTC     uint64
		d12, d38, d76 string
		json          string
	}{
		{true, 1, 2, 3, 4, 1.5, 2.25, "text", "raw", date(2024, 2, 29), 3_723_000_001, ts(date(2024, 2, 29), 1), ts(date(1969, 12, 31), 86_399_999_999), "123456", "10", "-1", `{"a": 1}`},
		{false, math.MaxInt16, math.MaxInt32, math.MaxInt64, math.MaxUint32, math.MaxFloat32, math.MaxFloat64, "tab\tnew\nline\\ 'quote' \"ü\" \\N €", "\x00\xff\\x", date(9999, 12, 31), 86_400_000_000, ts(date(294246, 12, 31), 0), ts(date(9999, 12, 31), 5), "999999999999", nines[:38], nines, `[null, "x"]`},
		{true, math.MinInt16, math.MinInt32, math.MinInt64, 0, -math.SmallestNonzeroFloat32, math.SmallestNonzeroFloat64, "", "", date(-4711, 1, 1), 0, ts(date(-4711, 1, 1), 0), ts(date(0, 3, 1), 17), "-999999999999", "-" + nines[:38], "-" + nines, `""`},
		{true, 0, 0, 0, 0, float32(math.Inf(1)), math.Inf(-1), "NULL", "NULL", batch.PosInfinityDate, 1, batch.PosInfinity, batch.PosInfinity, "0", "0", "0", "null"},
		{false, -1, -1, -1, 1, float32(math.NaN()), math.NaN(), `\N`, "\n", batch.NegInfinityDate, 999_999, 1<<63 + 1, 1<<63 + 1, "-1", "10000000000", "100000000000000000000", "1e5"},
	}
	for i, r := range rows {
		c := b.Column
		c(0).AppendBool(r.flag)
		c(1).AppendUint16(uint16(r.i16))
		c(2).AppendUint32(uint32(r.i32))
		c(3).AppendUint64(uint64(r.i64))
		c(4).AppendUint32(r.u32)
		c(5).AppendUint32(math.Float32bits(r.f32))
		c(6).AppendUint64(math.Float64bits(r.f64))
		c(7).AppendBytes([]byte(r.text))
		c(8).AppendBytes([]byte(r.raw))
		c(9).AppendUint32(uint32(int32(r.days)))
		c(10).AppendUint64(uint64(r.clock))
		c(11).AppendUint64(r.at)
		c(12).AppendUint64(r.atUTC)
		c(13).AppendFixed([]byte(fmt.Sprintf("0123456789abcde%d", i)))
		c(14).AppendFixed(fixed(num(r.d12), 16))
		c(15).AppendFixed(fixed(num(r.d38), 16))
		c(16).AppendFixed(fixed(num(r.d76), 32))
		c(17).AppendBytes([]byte(r.json))
		b.EndRow(batch.Insert, 100, uint64(i), 0)
	}
	for i := range s.Columns {
		b.Column(i).AppendNull()
	}
	b.EndRow(batch.Insert, 100, 9, 0)
	return b.Finish(batch.Position{})
}

func words(v decimal256.Num) []byte {
	var out []byte
	for _, w := range v.Array() {
		out = binary.LittleEndian.AppendUint64(out, w)
	}
	return out
}
