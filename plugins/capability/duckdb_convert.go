//go:build duckdb_arrow

package capability

import (
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/leat-etl/leat/engine/batch"
)

// Arrow's names of types that DuckDB takes from field metadata.
var (
	uuidField = arrow.NewMetadata([]string{"ARROW:extension:name", "ARROW:extension:metadata"}, []string{"arrow.uuid", ""})
	jsonField = arrow.NewMetadata([]string{"ARROW:extension:name", "ARROW:extension:metadata"}, []string{"arrow.json", ""})
)

// duckNames maps the spellings of DuckDB's types to one.
var duckNames = map[string]string{
	"bool": "boolean", "logical": "boolean",
	"int2": "smallint", "int4": "integer", "int": "integer", "int8": "bigint",
	"real": "float", "float4": "float", "float8": "double", "double precision": "double", "numeric": "decimal",
	"text": "varchar", "string": "varchar", "char": "varchar", "bpchar": "varchar",
	"bytea": "blob", "binary": "blob", "varbinary": "blob",
	"timestamp with time zone": "timestamptz", "datetime": "timestamp",
	"timestamp without time zone": "timestamp", "time without time zone": "time",
}

func parseDuckType(s string) sqlType {
	t := parseSQLType(s)
	if name, ok := duckNames[t.name]; ok {
		t.name = name
	}
	if t.name == "decimal" && t.precision < 0 {
		t.precision, t.scale = 18, 3
	}
	return t
}

// addColumn adds a column of the batch, converted so that the final CAST keeps
// every value or fails.
func (g *duckIngest) addColumn(c IngestColumn) error {
	a, meta, err := duckColumn(g.batch.Rows.Column(c.Column), parseDuckType(c.Type), slices.Contains(c.Lossy, "nan_to_null"))
	if errors.Is(err, errInexact) {
		return columnError(Schema, c, fmt.Errorf("%w: the batch has %s", err, g.batch.Schema.Columns[c.Column].Type))
	}
	if err != nil {
		return columnError(Data, c, err)
	}
	g.made = append(g.made, a)
	g.cast(c, g.field(a, meta))
	return nil
}

// duckColumn returns a with a reference of the caller's, in a form that DuckDB
// reads as t or casts to t exactly.
func duckColumn(a arrow.Array, t sqlType, nanToNull bool) (arrow.Array, arrow.Metadata, error) {
	same := func(meta arrow.Metadata) (arrow.Array, arrow.Metadata, error) {
		a.Retain()
		return a, meta, nil
	}
	none := arrow.Metadata{}
	if text, ok := a.(*array.String); ok {
		switch {
		case t.list:
			out, err := parseLists(text, t, nanToNull)
			return out, none, err
		case t.name == "map":
			out, err := parseMaps(text)
			return out, none, err
		case t.name == "varchar":
			return same(none)
		case t.name == "json":
			return same(jsonField)
		}
		out, err := parseTexts(text, t, nanToNull)
		return out, duckMeta(t), err
	}
	if t.list {
		return nil, none, errInexact
	}
	if t.name == "varchar" {
		out, err := formatTexts(a)
		return out, none, err
	}
	switch a := a.(type) {
	case *array.Decimal128, *array.Decimal256:
		if t.name != "decimal" {
			return nil, none, errInexact
		}
		out, err := decimals(a, t, nanToNull)
		return out, none, err
	case *array.FixedSizeBinary:
		if t.name == "uuid" {
			return same(uuidField)
		}
	case *array.Timestamp:
		if utc := a.DataType().(*arrow.TimestampType).TimeZone != ""; utc == (t.name == "timestamptz") && (utc || t.name == "timestamp") {
			return same(none)
		}
	default:
		if slices.Contains(exactCasts[a.DataType().ID()], t.name) {
			return same(none)
		}
	}
	return nil, none, errInexact
}

// exactCasts lists the DuckDB types to which a cast of each Arrow type is
// exact or fails.
var exactCasts = map[arrow.Type][]string{
	arrow.BOOL:    {"boolean"},
	arrow.INT16:   {"smallint", "integer", "bigint", "hugeint", "usmallint", "uinteger", "ubigint", "decimal", "float", "double"},
	arrow.INT32:   {"smallint", "integer", "bigint", "hugeint", "uinteger", "ubigint", "decimal", "double"},
	arrow.INT64:   {"smallint", "integer", "bigint", "hugeint", "uinteger", "ubigint", "decimal"},
	arrow.UINT32:  {"integer", "bigint", "hugeint", "uinteger", "ubigint", "decimal", "double"},
	arrow.FLOAT32: {"float", "double"},
	arrow.FLOAT64: {"double"},
	arrow.BINARY:  {"blob"},
	arrow.DATE32:  {"date"},
	arrow.TIME64:  {"time"},
}

func duckMeta(t sqlType) arrow.Metadata {
	if t.name == "uuid" {
		return uuidField
	}
	return arrow.Metadata{}
}

// duckArrow is the Arrow type that text is parsed into on its way to t.
func duckArrow(t sqlType) (arrow.DataType, error) {
	switch t.name {
	case "varchar", "json":
		return arrow.BinaryTypes.String, nil
	case "boolean":
		return arrow.FixedWidthTypes.Boolean, nil
	case "smallint":
		return arrow.PrimitiveTypes.Int16, nil
	case "integer":
		return arrow.PrimitiveTypes.Int32, nil
	case "bigint":
		return arrow.PrimitiveTypes.Int64, nil
	case "uinteger":
		return arrow.PrimitiveTypes.Uint32, nil
	case "float":
		return arrow.PrimitiveTypes.Float32, nil
	case "double":
		return arrow.PrimitiveTypes.Float64, nil
	case "decimal":
		return &arrow.Decimal128Type{Precision: t.precision, Scale: t.scale}, nil
	case "blob":
		return arrow.BinaryTypes.Binary, nil
	case "uuid":
		return &arrow.FixedSizeBinaryType{ByteWidth: 16}, nil
	case "date":
		return arrow.FixedWidthTypes.Date32, nil
	case "time":
		return arrow.FixedWidthTypes.Time64us, nil
	case "timestamp":
		return &arrow.TimestampType{Unit: arrow.Microsecond}, nil
	case "timestamptz":
		return arrow.FixedWidthTypes.Timestamp_us, nil
	}
	return nil, errInexact
}

func parseTexts(a *array.String, t sqlType, nanToNull bool) (arrow.Array, error) {
	typ, err := duckArrow(t)
	if err != nil {
		return nil, err
	}
	b := array.NewBuilder(memory.DefaultAllocator, typ)
	defer b.Release()
	b.Reserve(a.Len())
	for i := range a.Len() {
		if a.IsNull(i) {
			b.AppendNull()
		} else if err := appendParsed(b, a.Value(i), nanToNull); err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
	}
	return b.NewArray(), nil
}

// parseLists turns PostgreSQL array literals into lists.
func parseLists(a *array.String, t sqlType, nanToNull bool) (arrow.Array, error) {
	typ, err := duckArrow(t)
	if err != nil {
		return nil, err
	}
	element := arrow.Field{Name: "item", Type: typ, Nullable: true, Metadata: duckMeta(t)}
	b := array.NewBuilder(memory.DefaultAllocator, arrow.ListOfField(element)).(*array.ListBuilder)
	defer b.Release()
	b.Reserve(a.Len())
	values := b.ValueBuilder()
	var scratch []byte
	for i := range a.Len() {
		if a.IsNull(i) {
			b.AppendNull()
			continue
		}
		b.Append(true)
		scratch, err = eachElement(a.Value(i), scratch, func(v []byte, null bool) error {
			if null {
				values.AppendNull()
				return nil
			}
			return appendParsed(values, string(v), nanToNull)
		})
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
	}
	return b.NewArray(), nil
}

// parseMaps turns texts of hstore into maps.
func parseMaps(a *array.String) (arrow.Array, error) {
	b := array.NewMapBuilder(memory.DefaultAllocator, arrow.BinaryTypes.String, arrow.BinaryTypes.String, false)
	defer b.Release()
	b.Reserve(a.Len())
	keys, items := b.KeyBuilder().(*array.StringBuilder), b.ItemBuilder().(*array.StringBuilder)
	var scratch []byte
	var err error
	for i := range a.Len() {
		if a.IsNull(i) {
			b.AppendNull()
			continue
		}
		b.Append(true)
		scratch, err = eachPair(a.Value(i), scratch, func(key, value []byte, null bool) {
			keys.BinaryBuilder.Append(key)
			if null {
				items.AppendNull()
			} else {
				items.BinaryBuilder.Append(value)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
	}
	return b.NewArray(), nil
}

// formatTexts turns any column into its PostgreSQL text.
func formatTexts(a arrow.Array) (arrow.Array, error) {
	text, err := batch.TextOf(a)
	if err != nil {
		return nil, errInexact
	}
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	b.Reserve(a.Len())
	var scratch []byte
	for i := range a.Len() {
		if a.IsNull(i) {
			b.AppendNull()
			continue
		}
		scratch = text(scratch[:0], i)
		b.BinaryBuilder.Append(scratch)
	}
	return b.NewArray(), nil
}

// decimals checks a decimal column against DECIMAL(p,s) and narrows 256 bits
// to 128. A column that fits as it is comes back without a copy.
func decimals(a arrow.Array, t sqlType, nanToNull bool) (arrow.Array, error) {
	if d, ok := a.(*array.Decimal128); ok && d.DataType().(*arrow.Decimal128Type).Scale <= t.scale && !hasNaN(d) {
		d.Retain()
		return d, nil
	}
	b := array.NewDecimal128Builder(memory.DefaultAllocator, &arrow.Decimal128Type{Precision: t.precision, Scale: t.scale})
	defer b.Release()
	b.Reserve(a.Len())
	value, scale := decimalOf(a)
	for i := range a.Len() {
		if a.IsNull(i) {
			b.AppendNull()
			continue
		}
		n, nan := value(i)
		if nan && nanToNull {
			b.AppendNull()
			continue
		}
		if nan {
			return nil, fmt.Errorf("row %d: %w", i, errNaN)
		}
		n, err := rescale(n, scale, t)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
		b.Append(decimal128.FromBigInt(n))
	}
	return b.NewArray(), nil
}

func hasNaN(d *array.Decimal128) bool {
	for i, v := range d.Values() {
		if v == batch.NaN128 && d.IsValid(i) {
			return true
		}
	}
	return false
}

func decimalOf(a arrow.Array) (value func(row int) (n *big.Int, nan bool), scale int32) {
	if d, ok := a.(*array.Decimal128); ok {
		return func(row int) (*big.Int, bool) {
			return d.Value(row).BigInt(), d.Value(row) == batch.NaN128
		}, d.DataType().(*arrow.Decimal128Type).Scale
	}
	d := a.(*array.Decimal256)
	return func(row int) (*big.Int, bool) {
		return d.Value(row).BigInt(), d.Value(row) == batch.NaN256
	}, d.DataType().(*arrow.Decimal256Type).Scale
}

// rescale moves n from scale to t's, which must lose no digit.
func rescale(n *big.Int, scale int32, t sqlType) (*big.Int, error) {
	ten := func(e int32) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(e)), nil) }
	n = new(big.Int).Set(n)
	if scale < t.scale {
		n.Mul(n, ten(t.scale-scale))
	} else if scale > t.scale {
		rest := new(big.Int)
		if n.QuoRem(n, ten(scale-t.scale), rest); rest.Sign() != 0 {
			return nil, fmt.Errorf("more than %d digits after the point", t.scale)
		}
	}
	if !fits(n, t.precision) {
		return nil, fmt.Errorf("more than %d digits", t.precision)
	}
	return n, nil
}
