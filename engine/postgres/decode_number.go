package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"unsafe"

	"github.com/leat-etl/leat/engine/batch"
)

// The one bit pattern of NaN in our columns, whichever the server sent.
const (
	nan32 = 0x7fc00000
	nan64 = 0x7ff8000000000000
)

func appendBoolText(c *batch.ColumnBuilder, raw []byte) error {
	if len(raw) != 1 || raw[0] != 't' && raw[0] != 'f' {
		return errSyntax
	}
	c.AppendBool(raw[0] == 't')
	return nil
}

func appendBoolBinary(c *batch.ColumnBuilder, raw []byte) error {
	if len(raw) != 1 {
		return errSyntax
	}
	c.AppendBool(raw[0] != 0)
	return nil
}

func appendInt2Text(c *batch.ColumnBuilder, raw []byte) error {
	v, err := parseInt(raw)
	if err != nil || v != int64(int16(v)) {
		return errSyntax
	}
	c.AppendUint16(uint16(v))
	return nil
}

func appendInt4Text(c *batch.ColumnBuilder, raw []byte) error {
	v, err := parseInt(raw)
	if err != nil || v != int64(int32(v)) {
		return errSyntax
	}
	c.AppendUint32(uint32(v))
	return nil
}

func appendInt8Text(c *batch.ColumnBuilder, raw []byte) error {
	v, err := parseInt(raw)
	if err != nil {
		return err
	}
	c.AppendUint64(uint64(v))
	return nil
}

func appendOIDText(c *batch.ColumnBuilder, raw []byte) error {
	v, err := parseInt(raw)
	if err != nil || v != int64(uint32(v)) {
		return errSyntax
	}
	c.AppendUint32(uint32(v))
	return nil
}

// parseInt reads an integer of at most 19 digits.
func parseInt(raw []byte) (int64, error) {
	digits := raw
	neg := len(raw) > 0 && raw[0] == '-'
	if neg {
		digits = raw[1:]
	}
	if len(digits) == 0 || len(digits) > 19 {
		return 0, errSyntax
	}
	var v uint64
	for _, d := range digits {
		if d -= '0'; d > 9 {
			return 0, errSyntax
		}
		v = v*10 + uint64(d)
	}
	if neg {
		if v > 1<<63 {
			return 0, errSyntax
		}
		return -int64(v), nil
	}
	if v > math.MaxInt64 {
		return 0, errSyntax
	}
	return int64(v), nil
}

func append2Binary(c *batch.ColumnBuilder, raw []byte) error {
	if len(raw) != 2 {
		return errSyntax
	}
	c.AppendUint16(binary.BigEndian.Uint16(raw))
	return nil
}

func append4Binary(c *batch.ColumnBuilder, raw []byte) error {
	if len(raw) != 4 {
		return errSyntax
	}
	c.AppendUint32(binary.BigEndian.Uint32(raw))
	return nil
}

func append8Binary(c *batch.ColumnBuilder, raw []byte) error {
	if len(raw) != 8 {
		return errSyntax
	}
	c.AppendUint64(binary.BigEndian.Uint64(raw))
	return nil
}

func appendFloat4Text(c *batch.ColumnBuilder, raw []byte) error {
	v, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(raw), len(raw)), 32)
	if err != nil {
		return errSyntax
	}
	c.AppendUint32(float4Bits(float32(v)))
	return nil
}

func appendFloat8Text(c *batch.ColumnBuilder, raw []byte) error {
	v, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(raw), len(raw)), 64)
	if err != nil {
		return errSyntax
	}
	c.AppendUint64(float8Bits(v))
	return nil
}

func appendFloat4Binary(c *batch.ColumnBuilder, raw []byte) error {
	if len(raw) != 4 {
		return errSyntax
	}
	c.AppendUint32(float4Bits(math.Float32frombits(binary.BigEndian.Uint32(raw))))
	return nil
}

func appendFloat8Binary(c *batch.ColumnBuilder, raw []byte) error {
	if len(raw) != 8 {
		return errSyntax
	}
	c.AppendUint64(float8Bits(math.Float64frombits(binary.BigEndian.Uint64(raw))))
	return nil
}

func float4Bits(v float32) uint32 {
	if v != v {
		return nan32
	}
	return math.Float32bits(v)
}

func float8Bits(v float64) uint64 {
	if v != v {
		return nan64
	}
	return math.Float64bits(v)
}

// appendByteaText reads the hex form, \x and two digits a byte.
func appendByteaText(c *batch.ColumnBuilder, raw []byte) error {
	if len(raw) < 2 || raw[0] != '\\' || raw[1] != 'x' {
		return errSyntax
	}
	var err error
	c.Reserve(len(raw) / 2)
	c.AppendText(func(dst []byte) []byte {
		dst, err = hex.AppendDecode(dst, raw[2:])
		return dst
	})
	if err != nil {
		return errSyntax
	}
	return nil
}

func appendByteaBinary(c *batch.ColumnBuilder, raw []byte) error {
	c.AppendBytes(raw)
	return nil
}

// appendUUIDText reads the form that PostgreSQL prints: 8-4-4-4-12 hex digits.
func appendUUIDText(c *batch.ColumnBuilder, raw []byte) error {
	if len(raw) != 36 || raw[8] != '-' || raw[13] != '-' || raw[18] != '-' || raw[23] != '-' {
		return errSyntax
	}
	var id [16]byte
	at := 0
	for _, part := range [5][2]int{{0, 8}, {9, 13}, {14, 18}, {19, 23}, {24, 36}} {
		n, err := hex.Decode(id[at:], raw[part[0]:part[1]])
		if err != nil {
			return errSyntax
		}
		at += n
	}
	c.AppendFixed(id[:])
	return nil
}

func appendUUIDBinary(c *batch.ColumnBuilder, raw []byte) error {
	if len(raw) != 16 {
		return errSyntax
	}
	c.AppendFixed(raw)
	return nil
}
