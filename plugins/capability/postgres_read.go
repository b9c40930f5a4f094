package capability

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/leat-etl/leat/engine/batch"
)

// Read collects so many rows in a record, or of large ones so many bytes: one
// more value has room below what an Arrow column can hold.
const (
	readRows  = 1 << 14
	readBytes = 64 << 20
)

// Read implements SQL. Columns have the type that a batch has for the same
// PostgreSQL type, sentinels included: verify compares them bit by bit.
// Numeric without a precision and every type without an Arrow form come as the
// server's text.
func (p *postgres) Read(ctx context.Context, sql string, yield func(arrow.RecordBatch) error) error {
	described, err := p.conn.Prepare(ctx, "", sql, nil)
	if err != nil {
		return postgresError(err)
	}
	columns := make([]readColumn, len(described.Fields))
	fields := make([]arrow.Field, len(columns))
	formats := make([]int16, len(columns))
	for i, f := range described.Fields {
		columns[i] = newReadColumn(f)
		fields[i] = arrow.Field{Name: f.Name, Type: columns[i].typ, Nullable: true}
		formats[i] = columns[i].format
	}
	schema := arrow.NewSchema(fields, nil)
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer builder.Release()
	result := p.conn.ExecPrepared(ctx, "", nil, nil, formats)
	if err := readResult(result, builder, columns, yield); err != nil {
		_, _ = result.Close()
		return err
	}
	_, err = result.Close()
	return postgresError(err)
}

func readResult(result *pgconn.ResultReader, builder *array.RecordBuilder, columns []readColumn, yield func(arrow.RecordBatch) error) error {
	n, size, flushed := 0, 0, false
	flush := func() error {
		record := builder.NewRecordBatch()
		defer record.Release()
		n, size, flushed = 0, 0, true
		return yield(record)
	}
	for result.NextRow() {
		for i, v := range result.Values() {
			size += len(v)
			b := builder.Field(i)
			if v == nil {
				b.AppendNull()
			} else if err := columns[i].append(b, v); err != nil {
				return &Error{Class: Internal, Message: fmt.Sprintf("read column %d: %v", i, err)}
			}
		}
		if n++; n == readRows || size >= readBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if n == 0 && flushed {
		return nil
	}
	return flush() // an empty one has the names of the columns
}

// readColumn says how a result column becomes an Arrow column: format 1 is
// binary, 0 text.
type readColumn struct {
	typ    arrow.DataType
	format int16
	append func(b array.Builder, v []byte) error
}

var errReadLength = fmt.Errorf("the value has an unexpected length")

// fixed reads values of a known length.
func fixed[B array.Builder](typ arrow.DataType, length int, put func(b B, v []byte)) readColumn {
	return readColumn{typ, 1, func(b array.Builder, v []byte) error {
		if len(v) != length {
			return errReadLength
		}
		put(b.(B), v)
		return nil
	}}
}

var textColumn = readColumn{arrow.BinaryTypes.String, 0, func(b array.Builder, v []byte) error {
	b.(*array.StringBuilder).BinaryBuilder.Append(v)
	return nil
}}

func newReadColumn(f pgconn.FieldDescription) readColumn {
	order := binary.BigEndian
	switch f.DataTypeOID {
	case 16: // bool
		return fixed(arrow.FixedWidthTypes.Boolean, 1, func(b *array.BooleanBuilder, v []byte) { b.Append(v[0] != 0) })
	case 21: // int2
		return fixed(arrow.PrimitiveTypes.Int16, 2, func(b *array.Int16Builder, v []byte) { b.Append(int16(order.Uint16(v))) })
	case 23: // int4
		return fixed(arrow.PrimitiveTypes.Int32, 4, func(b *array.Int32Builder, v []byte) { b.Append(int32(order.Uint32(v))) })
	case 20: // int8
		return fixed(arrow.PrimitiveTypes.Int64, 8, func(b *array.Int64Builder, v []byte) { b.Append(int64(order.Uint64(v))) })
	case 26: // oid
		return fixed(arrow.PrimitiveTypes.Uint32, 4, func(b *array.Uint32Builder, v []byte) { b.Append(order.Uint32(v)) })
	case 700: // float4
		return fixed(arrow.PrimitiveTypes.Float32, 4, func(b *array.Float32Builder, v []byte) { b.Append(math.Float32frombits(order.Uint32(v))) })
	case 701: // float8
		return fixed(arrow.PrimitiveTypes.Float64, 8, func(b *array.Float64Builder, v []byte) { b.Append(math.Float64frombits(order.Uint64(v))) })
	case 2950: // uuid
		return fixed(&arrow.FixedSizeBinaryType{ByteWidth: 16}, 16, func(b *array.FixedSizeBinaryBuilder, v []byte) { b.Append(v) })
	case 1082: // date
		return fixed(arrow.FixedWidthTypes.Date32, 4, func(b *array.Date32Builder, v []byte) { b.Append(arrow.Date32(readDate(int32(order.Uint32(v))))) })
	case 1083: // time
		return fixed(arrow.FixedWidthTypes.Time64us, 8, func(b *array.Time64Builder, v []byte) { b.Append(arrow.Time64(order.Uint64(v))) })
	case 1114: // timestamp
		return fixed(&arrow.TimestampType{Unit: arrow.Microsecond}, 8, appendReadTimestamp)
	case 1184: // timestamptz
		return fixed(arrow.FixedWidthTypes.Timestamp_us, 8, appendReadTimestamp)
	case 17: // bytea
		return readColumn{arrow.BinaryTypes.Binary, 1, func(b array.Builder, v []byte) error {
			b.(*array.BinaryBuilder).Append(v)
			return nil
		}}
	case 1700: // numeric
		return numericColumn(f.TypeModifier)
	}
	return textColumn
}

func appendReadTimestamp(b *array.TimestampBuilder, v []byte) {
	micros := int64(binary.BigEndian.Uint64(v))
	switch micros {
	case math.MaxInt64:
		micros = batch.PosInfinity
	case math.MinInt64:
		micros = batch.NegInfinity
	default:
		micros += postgresEpoch * microsPerDay
	}
	b.Append(arrow.Timestamp(micros))
}

func readDate(days int32) int32 {
	switch days {
	case math.MaxInt32:
		return batch.PosInfinityDate
	case math.MinInt32:
		return batch.NegInfinityDate
	}
	return days + postgresEpoch
}

// numericColumn reads numeric(p,s) as a decimal where a batch does.
func numericColumn(typmod int32) readColumn {
	if typmod < 4 {
		return textColumn
	}
	precision, scale := (typmod-4)>>16, (typmod-4)&0x7ff
	if precision > 76 || scale > precision {
		return textColumn
	}
	if precision <= 38 {
		return readColumn{&arrow.Decimal128Type{Precision: precision, Scale: scale}, 0, func(b array.Builder, v []byte) error {
			d := b.(*array.Decimal128Builder)
			if string(v) == "NaN" {
				d.Append(batch.NaN128)
				return nil
			}
			n, err := readNumeric(v)
			if err == nil {
				d.Append(decimal128.FromBigInt(n))
			}
			return err
		}}
	}
	return readColumn{&arrow.Decimal256Type{Precision: precision, Scale: scale}, 0, func(b array.Builder, v []byte) error {
		d := b.(*array.Decimal256Builder)
		if string(v) == "NaN" {
			d.Append(batch.NaN256)
			return nil
		}
		n, err := readNumeric(v)
		if err == nil {
			d.Append(decimal256.FromBigInt(n))
		}
		return err
	}}
}

// readNumeric reads the digits of a number that the server has already
// brought to its column's scale.
func readNumeric(v []byte) (*big.Int, error) {
	text := make([]byte, 0, len(v))
	for _, c := range v {
		if c != '.' {
			text = append(text, c)
		}
	}
	n, ok := new(big.Int).SetString(string(text), 10)
	if !ok {
		return nil, fmt.Errorf("not a number")
	}
	return n, nil
}
