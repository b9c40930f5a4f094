package capability

import (
	"github.com/leat-etl/leat/engine/batch"
)

// textCell returns the encoder of a column in COPY's text format.
func textCell(b *batch.Batch, c IngestColumn) (copyCell, error) {
	switch c.From {
	case FromConstant:
		value := []byte(`\N`)
		if c.Value != nil {
			value = appendEscaped(nil, []byte(*c.Value))
		}
		return func(dst []byte, _ int) ([]byte, error) { return append(dst, value...), nil }, nil
	case FromOp:
		return func(dst []byte, row int) ([]byte, error) { return append(dst, byte(b.Ops[row])), nil }, nil
	case FromAbsent:
		return func(dst []byte, row int) ([]byte, error) {
			if b.IsPresent(c.Column, row) {
				return append(dst, 'f'), nil
			}
			return append(dst, 't'), nil
		}, nil
	case FromCommitTime:
		return func(dst []byte, row int) ([]byte, error) {
			return batch.AppendTimestamp(dst, b.CommitTime[row], true), nil
		}, nil
	case FromOrigin:
		origins := batch.Origins(b)
		return func(dst []byte, row int) ([]byte, error) { return appendUint(dst, uint64(origins[row])), nil }, nil
	case FromIngestTime:
		return func(dst []byte, _ int) ([]byte, error) { return batch.AppendTimestamp(dst, b.Ingested, true), nil }, nil
	case FromLSN, FromOrdinal, FromRow:
		return func(dst []byte, row int) ([]byte, error) { return appendUint(dst, rowNumber(b, c.From, row)), nil }, nil
	}
	if c.From == FromRowID {
		ids, err := newRowIDs(b)
		if err != nil {
			return nil, err
		}
		return func(dst []byte, row int) ([]byte, error) {
			if !ids.has(row) {
				return append(dst, '\\', 'N'), nil
			}
			return ids.append(dst, row), nil
		}, nil
	}
	column := b.Rows.Column(c.Column)
	text, err := batch.TextOf(column)
	if err != nil {
		return nil, err
	}
	var scratch []byte
	return func(dst []byte, row int) ([]byte, error) {
		if column.IsNull(row) {
			return append(dst, '\\', 'N'), nil
		}
		scratch = text(scratch[:0], row)
		return appendEscaped(dst, scratch), nil
	}, nil
}

// appendEscaped writes text as COPY's text format wants it.
func appendEscaped(dst, text []byte) []byte {
	start := 0
	for i, c := range text {
		var escape byte
		switch c {
		case '\\':
			escape = '\\'
		case '\n':
			escape = 'n'
		case '\r':
			escape = 'r'
		case '\t':
			escape = 't'
		default:
			continue
		}
		dst = append(append(dst, text[start:i]...), '\\', escape)
		start = i + 1
	}
	return append(dst, text[start:]...)
}
