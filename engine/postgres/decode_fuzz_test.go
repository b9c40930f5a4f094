package postgres

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// syntheticTypes has a type for every printer, and an array, a range, a
// multirange and a composite of each.
func syntheticTypes() (m *TypeMap, oids []uint32) {
	var functions [][2]string
	for f := range scalarPrinters {
		functions = append(functions, f)
	}
	slices.SortFunc(functions, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	var types []TypeInfo
	add := func(t TypeInfo) uint32 {
		t.OID, t.Delimiter = uint32(50_000+len(types)), ','
		t.Name = t.Output
		types = append(types, t)
		oids = append(oids, t.OID)
		return t.OID
	}
	for _, f := range functions {
		scalar := add(TypeInfo{Kind: 'b', Output: f[0], Send: f[1]})
		add(TypeInfo{Kind: 'a', Output: "array_out", Send: "array_send", Of: scalar})
		r := add(TypeInfo{Kind: 'r', Output: "range_out", Send: "range_send", Of: scalar})
		add(TypeInfo{Kind: 'm', Output: "multirange_out", Send: "multirange_send", Of: r})
		add(TypeInfo{Kind: 'c', Output: "record_out", Send: "record_send", Attributes: []uint32{scalar, r}})
	}
	return newTypeMap(types...), oids
}

// FuzzPrinter feeds bytes to the printer of each type: whatever they are, the
// result is an error or valid text.
func FuzzPrinter(f *testing.F) {
	m, oids := syntheticTypes()
	array := []byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff}
	numeric := []byte{0, 2, 0, 0, 0x40, 0, 0, 4, 0, 1, 4, 0xd2}
	for i := range oids {
		f.Add(uint16(i), array)
		f.Add(uint16(i), numeric)
		f.Add(uint16(i), []byte{1, 2, 0, 0, 0, 3, 'a', 0, 0, 1, 0xc0, 1})
		f.Add(uint16(i), []byte{0, 0, 0, 2, 2, 2, 1, 1, 0, 'b', 0, 1, 0, 'a', 0})
	}
	f.Fuzz(func(t *testing.T, which uint16, raw []byte) {
		p, err := m.printer(oids[int(which)%len(oids)])
		if err != nil {
			t.Fatal(err)
		}
		before := slices.Clone(raw)
		text, err := p([]byte("before"), raw)
		if !slices.Equal(raw, before) {
			t.Fatal("the printer changed its input")
		}
		if err == nil && (!utf8.Valid(text) || string(text[:6]) != "before") {
			t.Fatalf("printed %q", text)
		}
	})
}

var fuzzColumns = []arrow.DataType{
	arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64,
	arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64, arrow.BinaryTypes.Binary, uuidType,
	arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Time64us, timestampType, arrow.FixedWidthTypes.Timestamp_us,
	&arrow.Decimal128Type{Precision: 38, Scale: 10}, &arrow.Decimal256Type{Precision: 76, Scale: 30}, arrow.BinaryTypes.String,
}

// FuzzCell feeds bytes to the text and the binary decoder of each column
// type: each appends one cell or fails, and the text of a cell decodes to the
// cell again.
func FuzzCell(f *testing.F) {
	m, _ := syntheticTypes()
	for _, text := range []string{"t", "-12", "1.50", "NaN", "infinity", "2024-02-29", "0044-03-15 12:00:00.1+05:30 BC", "24:00:00", `\x00ff`, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "-0.000000000000000001"} {
		for i := range fuzzColumns {
			f.Add(uint8(i), false, []byte(text))
		}
	}
	f.Add(uint8(13), true, []byte{0, 2, 0, 0, 0x40, 0, 0, 4, 0, 1, 4, 0xd2})
	f.Add(uint8(11), true, []byte{0, 2, 0, 0, 0x40, 0, 0, 4})
	f.Fuzz(func(t *testing.T, which uint8, binary bool, raw []byte) {
		s := &batch.Schema{Columns: []batch.Column{{Name: "c", Type: fuzzColumns[int(which)%len(fuzzColumns)], PG: batch.PGType{OID: 50_000}}}}
		b := batch.NewBuilder(s)
		decode, err := newAppender(m, s.Columns[0], binary)
		if err != nil {
			t.Fatal(err)
		}
		if decode(b.Column(0), raw) != nil {
			b.AbortRow()
			if got := b.Finish(batch.Position{}).Len(); got != 0 {
				t.Fatalf("%d rows after a failure", got)
			}
			return
		}
		b.EndRow(batch.Read, 1, 1, 1)
		first := canonical(t, b.Finish(batch.Position{}), 0, 0)
		again := batch.NewBuilder(s)
		decodeText, err := newAppender(m, s.Columns[0], false)
		if err != nil {
			t.Fatal(err)
		}
		text := []byte(*first)
		if s.Columns[0].Type == fuzzColumns[0] {
			text = text[:1]
		}
		if err := decodeText(again.Column(0), text); err != nil {
			t.Fatalf("%s printed %q, which fails: %v", s.Columns[0].Type, *first, err)
		}
		again.EndRow(batch.Read, 1, 1, 1)
		if second := canonical(t, again.Finish(batch.Position{}), 0, 0); *second != *first {
			t.Fatalf("%s: %q became %q", s.Columns[0].Type, *first, *second)
		}
	})
}

// twoColumns is a schema of an int4 and a text.
func twoColumns(m *TypeMap, oids []uint32) *batch.Schema {
	text := oids[slices.IndexFunc(oids, func(oid uint32) bool { return m.types[oid].Output == "textout" })]
	return &batch.Schema{Columns: []batch.Column{
		{Name: "n", Type: arrow.PrimitiveTypes.Int32, PG: batch.PGType{OID: oidInt4}, Key: 1},
		{Name: "v", Type: arrow.BinaryTypes.String, PG: batch.PGType{OID: text}},
	}}
}

// FuzzCopy decodes the same data at once and in pieces: both give the same
// rows, failures and end.
func FuzzCopy(f *testing.F) {
	m, oids := syntheticTypes()
	s := twoColumns(m, oids)
	f.Add(false, uint8(3), []byte("1\tone\n2\t\\N\n\\N\ttab\\there\nx\tbad\n\\.\n"))
	rows := append(slices.Clone(copySignature), 0, 0, 0, 0, 0, 0, 0, 0)
	rows = append(rows, 0, 2, 0, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0, 1, 'x')
	rows = append(rows, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0xff, 0xff, 0xff)
	f.Add(true, uint8(2), rows)
	decode := func(t *testing.T, binary bool, piece int, data []byte) (out []string, rows, failed int) {
		d, err := newCopyDecoder(s, m, binary)
		if err != nil {
			t.Fatal(err)
		}
		b := batch.NewBuilder(s)
		for err == nil && len(data) > 0 {
			n := min(piece, len(data))
			err = d.Decode(data[:n], b, 1, 2)
			data = data[n:]
		}
		if err == nil {
			err = d.Finish()
		}
		if err != nil {
			out = append(out, "broken")
		}
		rows, failed = b.Len(), len(d.TakeFailed())
		return append(out, describe(t, &Group{Batches: []*batch.Batch{b.Finish(batch.Position{})}})...), rows, failed
	}
	f.Fuzz(func(t *testing.T, binary bool, piece uint8, data []byte) {
		whole, rows, failed := decode(t, binary, math.MaxInt, data)
		pieces, rows2, failed2 := decode(t, binary, int(piece)+1, data)
		if !slices.Equal(whole, pieces) || rows != rows2 || failed != failed2 {
			t.Fatalf("at once %q, in pieces %q", whole, pieces)
		}
	})
}

// message joins the parts of a pgoutput message: bytes as they are, strings
// with a zero byte, numbers in network order.
func message(parts ...any) []byte {
	var out []byte
	for _, p := range parts {
		switch p := p.(type) {
		case byte:
			out = append(out, p)
		case rune:
			out = append(out, byte(p))
		case uint16:
			out = binary.BigEndian.AppendUint16(out, p)
		case uint32:
			out = binary.BigEndian.AppendUint32(out, p)
		case uint64:
			out = binary.BigEndian.AppendUint64(out, p)
		case string:
			out = append(append(out, p...), 0)
		case []byte:
			out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
			out = append(out, p...)
		}
	}
	return out
}

// FuzzPgoutput decodes a stream of messages, each after its length: whatever
// they are, groups hold together.
func FuzzPgoutput(f *testing.F) {
	m, oids := syntheticTypes()
	text := twoColumns(m, oids).Columns[1].PG.OID
	begin := message('B', uint64(100), uint64(5), uint32(1))
	relation := message('R', uint32(7), "public", "t", 'd', uint16(2), byte(1), "n", uint32(oidInt4), uint32(1<<32-1), byte(0), "v", text, uint32(1<<32-1))
	insert := message('I', uint32(7), 'N', uint16(2), 't', []byte("1"), 't', []byte("one"))
	bad := message('I', uint32(7), 'N', uint16(2), 't', []byte("x"), 'n')
	update := message('U', uint32(7), 'K', uint16(2), 't', []byte("1"), 'n', 'N', uint16(2), 'b', []byte{0, 0, 0, 2}, 'u')
	remove := message('D', uint32(7), 'K', uint16(2), 't', []byte("2"), 'n')
	truncate := message('T', uint32(1), byte(0), uint32(7))
	note := message('M', byte(1), uint64(9), "leat", []byte("hello"))
	done := message('C', byte(0), uint64(100), uint64(140), uint64(5))
	var seed []byte
	for _, msg := range [][]byte{relation, begin, insert, bad, update, remove, note, truncate, insert, done} {
		seed = append(binary.BigEndian.AppendUint16(seed, uint16(len(msg))), msg...)
	}
	f.Add(seed)
	f.Add(append(slices.Clone(seed[:len(seed)-30]), seed...))
	inStream := func(msg []byte) []byte {
		return append([]byte{msg[0], 0, 0, 0, 12}, msg[1:]...)
	}
	var early []byte
	for _, msg := range [][]byte{
		message('S', uint32(11), byte(1)), inStream(relation), inStream(insert), inStream(bad), message('E'), message('A', uint32(11), uint32(13)),
		message('b', uint64(80), uint64(90), uint64(5), uint32(21), "gid"), relation, insert, update, message('P', byte(0), uint64(80), uint64(90), uint64(5), uint32(21), "gid"),
		message('S', uint32(11), byte(0)), inStream(truncate), message('E'), message('c', uint32(11), byte(0), uint64(100), uint64(140), uint64(5)),
		message('K', byte(0), uint64(200), uint64(240), uint64(5), uint32(21), "gid"), message('r', byte(0), uint64(1), uint64(2), uint64(3), uint64(4), uint32(21), "gid"),
	} {
		early = append(binary.BigEndian.AppendUint16(early, uint16(len(msg))), msg...)
	}
	f.Add(early)
	f.Fuzz(func(t *testing.T, data []byte) {
		source := relationSource{binary: true, types: func() *TypeMap { return m }}
		d := newPgoutput(source, 1, batch.Position{})
		var last batch.Position
		for len(data) > 2 {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			done, err := d.decode(context.Background(), data[2:2+n])
			if err != nil {
				return
			}
			for d.replay != nil && err == nil {
				done, err = d.replayNext(context.Background())
			}
			if err != nil {
				return
			}
			data = data[2+n:]
			if done == nil || !d.group.reached {
				continue
			}
			g := d.cut()
			if !g.Complete || g.Position.LSN != done.lsn {
				t.Fatalf("group to %s at the commit of %x", g.Position, done.lsn)
			}
			for _, b := range g.Batches {
				if b.Len() == 0 {
					t.Fatal("empty batch")
				}
			}
			last = g.Position
		}
		if d.tx.open && d.tx.bytes > 0 {
			if g := d.cut(); g.Complete || g.Position.Compare(last) == 0 {
				t.Fatalf("group to %s inside a transaction", g.Position)
			}
		}
	})
}
