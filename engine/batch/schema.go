package batch

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/decimal256"
)

// Sentinels of values that PostgreSQL has and Arrow has not. Timestamps are
// microseconds since 1970, dates days since 1970.
const (
	PosInfinity     = math.MaxInt64
	NegInfinity     = -math.MaxInt64
	PosInfinityDate = math.MaxInt32
	NegInfinityDate = -math.MaxInt32
)

// NaN in a decimal column.
var (
	NaN128 = decimal128.New(math.MinInt64, 0)
	NaN256 = decimal256.New(1<<63, 0, 0, 0)
)

// TableID names a table of one database.
type TableID struct {
	Database string `json:"database"`
	Schema   string `json:"schema"`
	Name     string `json:"name"`
}

// String prints database.schema.name for people.
func (t TableID) String() string { return t.Database + "." + t.Schema + "." + t.Name }

// PGType is a column's type at the source. Name is schema-qualified only
// outside pg_catalog. Typmod is -1 where the type has none.
type PGType struct {
	Name   string `json:"name"`
	OID    uint32 `json:"oid"`
	Typmod int32  `json:"typmod"`
	// Array, Enum and so on: pg_type.typtype, or 'a' for an array.
	Kind string `json:"kind,omitempty"`
	// Delimiter parts the elements in an array's text where that is no comma:
	// a semicolon for box, a colon for PostGIS' geometry.
	Delimiter string `json:"delimiter,omitempty"`
}

// Column describes one column of a Schema.
type Column struct {
	Name     string
	Type     arrow.DataType
	PG       PGType
	Nullable bool
	// Key is the 1-based place of the column in the row identity, 0 outside it.
	Key int
	// ID is the column's number in pg_attribute: it stays when the column is
	// renamed or gets another type, and no later column has it. 0 is unknown.
	ID int
	// Missing is the value of the rows that are older than the column, in
	// PostgreSQL's text form; nil is NULL.
	Missing *string
}

// Schema is the shape of a table at one point of the log. It is immutable
// once it is part of a Batch; batches of one version share the pointer.
type Schema struct {
	Table   TableID
	Version uint64
	// OID is the relation's: it stays when the table is renamed. 0 is unknown.
	OID     uint32
	Columns []Column

	arrow *arrow.Schema
}

// Arrow returns the schema as Arrow fields, with the PostgreSQL type of each
// column in its metadata.
func (s *Schema) Arrow() *arrow.Schema {
	if s.arrow == nil {
		fields := make([]arrow.Field, len(s.Columns))
		for i, c := range s.Columns {
			fields[i] = arrow.Field{Name: c.Name, Type: c.Type, Nullable: true, Metadata: c.metadata()}
		}
		s.arrow = arrow.NewSchema(fields, nil)
	}
	return s.arrow
}

func (c Column) metadata() arrow.Metadata {
	keys := []string{"leat.pg_type", "leat.pg_oid", "leat.pg_typmod"}
	vals := []string{c.PG.Name, strconv.FormatUint(uint64(c.PG.OID), 10), strconv.Itoa(int(c.PG.Typmod))}
	return arrow.NewMetadata(keys, vals)
}

// Key returns the indexes of the identity columns in key order, empty for a
// table without identity.
func (s *Schema) Key() []int {
	n := 0
	for _, c := range s.Columns {
		n = max(n, c.Key)
	}
	key := make([]int, n)
	for i, c := range s.Columns {
		if c.Key > 0 {
			key[c.Key-1] = i
		}
	}
	return key
}

// Column returns the index of the column called name, -1 if there is none.
func (s *Schema) Column(name string) int {
	for i, c := range s.Columns {
		if c.Name == name {
			return i
		}
	}
	return -1
}

// ColumnID returns the index of the column with an ID, -1 if there is none.
func (s *Schema) ColumnID(id int) int {
	for i, c := range s.Columns {
		if id != 0 && c.ID == id {
			return i
		}
	}
	return -1
}

// Fingerprint is equal for two schemas that describe the same shape,
// whatever their version number.
func (s *Schema) Fingerprint() uint64 {
	t := Schema{Table: s.Table, OID: s.OID, Columns: s.Columns}
	text, err := json.Marshal(&t)
	if err != nil {
		panic(fmt.Sprintf("schema of %s: %v", s.Table, err)) // only for a type without a format: a programming error
	}
	h := fnv.New64a()
	h.Write(text)
	return h.Sum64()
}

type columnJSON struct {
	Name     string `json:"name"`
	Format   string `json:"format"`
	PG       PGType `json:"pg_type"`
	Nullable bool   `json:"nullable"`
	Key      int    `json:"key,omitempty"`
	ID       int    `json:"id,omitempty"`
	// Missing is left out for NULL.
	Missing *string `json:"missing,omitempty"`
}

type schemaJSON struct {
	Table   TableID      `json:"table"`
	Version uint64       `json:"version"`
	OID     uint32       `json:"oid,omitempty"`
	Columns []columnJSON `json:"columns"`
}

// MarshalJSON writes the form that plugins see: types as Arrow C Data
// Interface format strings.
func (s *Schema) MarshalJSON() ([]byte, error) {
	out := schemaJSON{Table: s.Table, Version: s.Version, OID: s.OID, Columns: make([]columnJSON, len(s.Columns))}
	for i, c := range s.Columns {
		format, err := Format(c.Type)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", c.Name, err)
		}
		out.Columns[i] = columnJSON{c.Name, format, c.PG, c.Nullable, c.Key, c.ID, c.Missing}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Schema) UnmarshalJSON(data []byte) error {
	var in schemaJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*s = Schema{Table: in.Table, Version: in.Version, OID: in.OID, Columns: make([]Column, len(in.Columns))}
	for i, c := range in.Columns {
		t, err := ParseFormat(c.Format)
		if err != nil {
			return fmt.Errorf("column %q: %w", c.Name, err)
		}
		s.Columns[i] = Column{Name: c.Name, Type: t, PG: c.PG, Nullable: c.Nullable, Key: c.Key, ID: c.ID, Missing: c.Missing}
	}
	return nil
}

var formats = []struct {
	format string
	typ    arrow.DataType
}{
	{"b", arrow.FixedWidthTypes.Boolean},
	{"s", arrow.PrimitiveTypes.Int16},
	{"i", arrow.PrimitiveTypes.Int32},
	{"l", arrow.PrimitiveTypes.Int64},
	{"I", arrow.PrimitiveTypes.Uint32},
	{"f", arrow.PrimitiveTypes.Float32},
	{"g", arrow.PrimitiveTypes.Float64},
	{"u", arrow.BinaryTypes.String},
	{"z", arrow.BinaryTypes.Binary},
	{"tdD", arrow.FixedWidthTypes.Date32},
	{"ttu", arrow.FixedWidthTypes.Time64us},
	{"tsu:", &arrow.TimestampType{Unit: arrow.Microsecond}},
	{"tsu:UTC", arrow.FixedWidthTypes.Timestamp_us},
	{"w:16", &arrow.FixedSizeBinaryType{ByteWidth: 16}},
}

// Format returns the Arrow C Data Interface format string of a column type.
// The types listed here and decimals are all that a Schema may contain.
func Format(t arrow.DataType) (string, error) {
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		return fmt.Sprintf("d:%d,%d", t.Precision, t.Scale), nil
	case *arrow.Decimal256Type:
		return fmt.Sprintf("d:%d,%d,256", t.Precision, t.Scale), nil
	}
	for _, f := range formats {
		if arrow.TypeEqual(f.typ, t) {
			return f.format, nil
		}
	}
	return "", fmt.Errorf("type %s cannot be part of a batch", t)
}

// ParseFormat reads what Format prints.
func ParseFormat(s string) (arrow.DataType, error) {
	for _, f := range formats {
		if f.format == s {
			return f.typ, nil
		}
	}
	if rest, ok := strings.CutPrefix(s, "d:"); ok {
		part := strings.Split(rest, ",")
		if len(part) == 2 || (len(part) == 3 && part[2] == "256") {
			precision, errP := strconv.ParseInt(part[0], 10, 32)
			scale, errS := strconv.ParseInt(part[1], 10, 32)
			wide := len(part) == 3
			limit := int64(38)
			if wide {
				limit = 76
			}
			if errP == nil && errS == nil && precision >= 1 && precision <= limit && scale >= 0 && scale <= precision {
				if wide {
					return &arrow.Decimal256Type{Precision: int32(precision), Scale: int32(scale)}, nil
				}
				return &arrow.Decimal128Type{Precision: int32(precision), Scale: int32(scale)}, nil
			}
		}
	}
	return nil, fmt.Errorf("format %q is not one that a batch may contain", s)
}
