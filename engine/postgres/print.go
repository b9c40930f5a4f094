package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// printer appends to dst the text form of a value in binary form: what the
// type's output function prints under sessionSettings. After an error the
// text is worthless.
type printer func(dst, raw []byte) ([]byte, error)

// scalarPrinters are the types that we print, by output and send function. A
// type of an extension that borrows both from a built-in type, as citext does,
// is printed like it.
var scalarPrinters = map[[2]string]printer{
	{"boolout", "boolsend"}:                 printBool,
	{"int2out", "int2send"}:                 printInt2,
	{"int4out", "int4send"}:                 printInt4,
	{"int8out", "int8send"}:                 printInt8,
	{"oidout", "oidsend"}:                   printUint32,
	{"xidout", "xidsend"}:                   printUint32,
	{"cidout", "cidsend"}:                   printUint32,
	{"xid8out", "xid8send"}:                 printUint64,
	{"tidout", "tidsend"}:                   printTID,
	{"float4out", "float4send"}:             printFloat4,
	{"float8out", "float8send"}:             printFloat8,
	{"numeric_out", "numeric_send"}:         printNumeric,
	{"textout", "textsend"}:                 printText,
	{"varcharout", "varcharsend"}:           printText,
	{"bpcharout", "bpcharsend"}:             printText,
	{"nameout", "namesend"}:                 printText,
	{"unknownout", "unknownsend"}:           printText,
	{"enum_out", "enum_send"}:               printText,
	{"json_out", "json_send"}:               printText,
	{"jsonb_out", "jsonb_send"}:             printVersionedText,
	{"jsonpath_out", "jsonpath_send"}:       printVersionedText,
	{"byteaout", "byteasend"}:               printBytea,
	{"uuid_out", "uuid_send"}:               printUUID,
	{"date_out", "date_send"}:               printDate,
	{"time_out", "time_send"}:               printTime,
	{"timetz_out", "timetz_send"}:           printTimetz,
	{"timestamp_out", "timestamp_send"}:     printTimestamp,
	{"timestamptz_out", "timestamptz_send"}: printTimestamptz,
	{"interval_out", "interval_send"}:       printInterval,
	{"inet_out", "inet_send"}:               printInet,
	{"cidr_out", "cidr_send"}:               printCIDR,
	{"macaddr_out", "macaddr_send"}:         printMAC6,
	{"macaddr8_out", "macaddr8_send"}:       printMAC8,
	{"bit_out", "bit_send"}:                 printBits,
	{"varbit_out", "varbit_send"}:           printBits,
	{"pg_lsn_out", "pg_lsn_send"}:           printLSN,
	{"point_out", "point_send"}:             printPoint,
	{"lseg_out", "lseg_send"}:               printSegment,
	{"box_out", "box_send"}:                 printBox,
	{"path_out", "path_send"}:               printPath,
	{"poly_out", "poly_send"}:               printPolygon,
	{"line_out", "line_send"}:               printLine,
	{"circle_out", "circle_send"}:           printCircle,
	{"tsvectorout", "tsvectorsend"}:         printTSVector,
	{"tsqueryout", "tsquerysend"}:           printTSQuery,

	{"c:hstore:hstore_out", "c:hstore:hstore_send"}:         printHstore,
	{"c:ltree:ltree_out", "c:ltree:ltree_send"}:             printVersionedText,
	{"c:ltree:lquery_out", "c:ltree:lquery_send"}:           printVersionedText,
	{"c:ltree:ltxtq_out", "c:ltree:ltxtq_send"}:             printVersionedText,
	{vectorOut, "c:vector:vector_send"}:                     printVector,
	{"c:postgis:LWGEOM_out", "c:postgis:LWGEOM_send"}:       printEWKB,
	{"c:postgis:geography_out", "c:postgis:geography_send"}: printEWKB,
}

// vectorOut is the output function of pgvector's vector.
const vectorOut = "c:vector:vector_out"

// sendsText has the send functions whose result is the text form itself.
var sendsText = map[string]bool{
	"textsend": true, "varcharsend": true, "bpcharsend": true, "namesend": true,
	"unknownsend": true, "enum_send": true, "json_send": true,
}

// printer returns the printer of a type, with those of the types it is made
// of.
func (m *TypeMap) printer(oid uint32) (printer, error) {
	t, _ := m.base(oid, -1)
	if t == nil {
		return nil, fmt.Errorf("binary form of type %d: the type is not known", oid)
	}
	if p := scalarPrinters[[2]string{t.Output, t.Send}]; p != nil {
		return p, nil
	}
	switch [2]string{t.Output, t.Send} {
	case [2]string{"array_out", "array_send"}:
		return m.arrayPrinter(t)
	case [2]string{"range_out", "range_send"}:
		return m.rangePrinter(t)
	case [2]string{"multirange_out", "multirange_send"}:
		return m.multirangePrinter(t)
	case [2]string{"record_out", "record_send"}:
		return m.recordPrinter(t)
	}
	return nil, fmt.Errorf("binary form of type %q: no decoder", t.Name)
}

// binarySafe says whether the binary form of a type decodes to exactly the
// cell that its text form gives.
func (m *TypeMap) binarySafe(oid uint32) bool {
	_, err := m.printer(oid)
	return err == nil
}

// streamSafe says whether a column of the type may be part of a stream in
// binary mode, where a type without a binary form is sent as text.
func (m *TypeMap) streamSafe(oid uint32) bool {
	t := m.types[oid]
	return t != nil && (t.Send == "" || m.binarySafe(oid))
}

func printBool(dst, raw []byte) ([]byte, error) {
	if len(raw) != 1 {
		return dst, errSyntax
	}
	if raw[0] != 0 {
		return append(dst, 't'), nil
	}
	return append(dst, 'f'), nil
}

func printInt2(dst, raw []byte) ([]byte, error) {
	if len(raw) != 2 {
		return dst, errSyntax
	}
	return strconv.AppendInt(dst, int64(int16(binary.BigEndian.Uint16(raw))), 10), nil
}

func printInt4(dst, raw []byte) ([]byte, error) {
	if len(raw) != 4 {
		return dst, errSyntax
	}
	return strconv.AppendInt(dst, int64(int32(binary.BigEndian.Uint32(raw))), 10), nil
}

func printInt8(dst, raw []byte) ([]byte, error) {
	if len(raw) != 8 {
		return dst, errSyntax
	}
	return strconv.AppendInt(dst, int64(binary.BigEndian.Uint64(raw)), 10), nil
}

func printUint32(dst, raw []byte) ([]byte, error) {
	if len(raw) != 4 {
		return dst, errSyntax
	}
	return strconv.AppendUint(dst, uint64(binary.BigEndian.Uint32(raw)), 10), nil
}

func printUint64(dst, raw []byte) ([]byte, error) {
	if len(raw) != 8 {
		return dst, errSyntax
	}
	return strconv.AppendUint(dst, binary.BigEndian.Uint64(raw), 10), nil
}

// printTID prints (block,offset).
func printTID(dst, raw []byte) ([]byte, error) {
	if len(raw) != 6 {
		return dst, errSyntax
	}
	dst = strconv.AppendUint(append(dst, '('), uint64(binary.BigEndian.Uint32(raw)), 10)
	dst = strconv.AppendUint(append(dst, ','), uint64(binary.BigEndian.Uint16(raw[4:])), 10)
	return append(dst, ')'), nil
}

// printLSN prints two hexadecimal halves.
func printLSN(dst, raw []byte) ([]byte, error) {
	if len(raw) != 8 {
		return dst, errSyntax
	}
	dst = appendUpperHex(dst, binary.BigEndian.Uint32(raw))
	return appendUpperHex(append(dst, '/'), binary.BigEndian.Uint32(raw[4:])), nil
}

func appendUpperHex(dst []byte, v uint32) []byte {
	from := len(dst)
	dst = strconv.AppendUint(dst, uint64(v), 16)
	for i := from; i < len(dst); i++ {
		if dst[i] >= 'a' {
			dst[i] -= 'a' - 'A'
		}
	}
	return dst
}

func printText(dst, raw []byte) ([]byte, error) {
	if !utf8.Valid(raw) {
		return dst, errEncoding
	}
	return append(dst, raw...), nil
}

// printVersionedText prints jsonb, jsonpath and ltree: text after a version
// byte.
func printVersionedText(dst, raw []byte) ([]byte, error) {
	if len(raw) < 1 || raw[0] != 1 {
		return dst, errSyntax
	}
	return printText(dst, raw[1:])
}

func printBytea(dst, raw []byte) ([]byte, error) {
	return hex.AppendEncode(append(dst, '\\', 'x'), raw), nil
}

func printUUID(dst, raw []byte) ([]byte, error) {
	if len(raw) != 16 {
		return dst, errSyntax
	}
	for i, part := range [5][]byte{raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst, nil
}

// printBits prints bit and varbit: a bit count, then the bits.
func printBits(dst, raw []byte) ([]byte, error) {
	if len(raw) < 4 {
		return dst, errSyntax
	}
	n := int64(binary.BigEndian.Uint32(raw))
	raw = raw[4:]
	if int64(len(raw)) != (n+7)/8 {
		return dst, errSyntax
	}
	for i := range n {
		dst = append(dst, '0'+raw[i>>3]>>(7-i&7)&1)
	}
	return dst, nil
}
