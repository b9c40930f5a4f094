package postgres

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// appender decodes one value that is not null and appends it to its column.
// raw belongs to the caller. After an error the row has to be aborted: the
// column may or may not have got a cell.
type appender func(c *batch.ColumnBuilder, raw []byte) error

// Failures of a value. They name no value: they end up in logs.
var (
	errSyntax    = errors.New("value is not in the form of its type")
	errRange     = errors.New("value is beyond what the column's type holds")
	errEncoding  = errors.New("text is not valid UTF-8")
	errPrecision = errors.New("numeric has more digits than its column declares")
)

// newAppender returns the decoder of a column's text or binary form. The
// binary form of a column that is text at our side needs the type's printer,
// see TypeMap.printer.
func newAppender(types *TypeMap, col batch.Column, binary bool) (appender, error) {
	if !binary {
		return textAppender(col.Type)
	}
	switch col.Type.(type) {
	case *arrow.StringType:
		return types.textOfBinary(col.PG.OID)
	default:
		return binaryAppender(col.Type)
	}
}

func textAppender(t arrow.DataType) (appender, error) {
	switch t := t.(type) {
	case *arrow.BooleanType:
		return appendBoolText, nil
	case *arrow.Int16Type:
		return appendInt2Text, nil
	case *arrow.Int32Type:
		return appendInt4Text, nil
	case *arrow.Int64Type:
		return appendInt8Text, nil
	case *arrow.Uint32Type:
		return appendOIDText, nil
	case *arrow.Float32Type:
		return appendFloat4Text, nil
	case *arrow.Float64Type:
		return appendFloat8Text, nil
	case *arrow.StringType:
		return appendText, nil
	case *arrow.BinaryType:
		return appendByteaText, nil
	case *arrow.FixedSizeBinaryType:
		return appendUUIDText, nil
	case *arrow.Date32Type:
		return appendDateText, nil
	case *arrow.Time64Type:
		return appendTimeText, nil
	case *arrow.TimestampType:
		return appendTimestampText, nil
	case *arrow.Decimal128Type:
		return decimal{t.Precision, t.Scale, 16}.appendText, nil
	case *arrow.Decimal256Type:
		return decimal{t.Precision, t.Scale, 32}.appendText, nil
	}
	return nil, fmt.Errorf("decode text of %s: not a column type", t)
}

func binaryAppender(t arrow.DataType) (appender, error) {
	switch t := t.(type) {
	case *arrow.BooleanType:
		return appendBoolBinary, nil
	case *arrow.Int16Type:
		return append2Binary, nil
	case *arrow.Int32Type, *arrow.Uint32Type:
		return append4Binary, nil
	case *arrow.Int64Type:
		return append8Binary, nil
	case *arrow.Float32Type:
		return appendFloat4Binary, nil
	case *arrow.Float64Type:
		return appendFloat8Binary, nil
	case *arrow.BinaryType:
		return appendByteaBinary, nil
	case *arrow.FixedSizeBinaryType:
		return appendUUIDBinary, nil
	case *arrow.Date32Type:
		return appendDateBinary, nil
	case *arrow.Time64Type:
		return appendTimeBinary, nil
	case *arrow.TimestampType:
		return appendTimestampBinary, nil
	case *arrow.Decimal128Type:
		return decimal{t.Precision, t.Scale, 16}.appendBinary, nil
	case *arrow.Decimal256Type:
		return decimal{t.Precision, t.Scale, 32}.appendBinary, nil
	}
	return nil, fmt.Errorf("decode binary of %s: not a column type", t)
}

func appendText(c *batch.ColumnBuilder, raw []byte) error {
	if !utf8.Valid(raw) {
		return errEncoding
	}
	c.AppendBytes(raw)
	return nil
}

// textOfBinary returns a decoder that prints the binary form of a type as
// PostgreSQL would.
func (m *TypeMap) textOfBinary(oid uint32) (appender, error) {
	p, err := m.printer(oid)
	if err != nil {
		return nil, err
	}
	if t, _ := m.base(oid, -1); sendsText[t.Send] {
		return appendText, nil
	}
	return func(c *batch.ColumnBuilder, raw []byte) (err error) {
		c.Reserve(len(raw))
		c.AppendText(func(dst []byte) []byte {
			dst, err = p(dst, raw)
			return dst
		})
		return err
	}, nil
}
