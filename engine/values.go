package engine

import (
	"cmp"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/spec"
)

// wideDigits is how many digits of a number every destination with decimals
// can hold.
const wideDigits = 38

// The words of a policy.
const (
	keepValue  = "keep"
	nullValue  = "null"
	clampValue = "clamp"
	textValue  = "text"
	failValue  = "fail"
)

// valueStep is what the policies of a pipeline (spec.Values) do to the rows of
// one schema, before the first plugin sees them. out is in where no column
// changes its type.
type valueStep struct {
	in, out *batch.Schema
	columns []valueColumn
}

// valueColumn is a column with a policy other than keep.
type valueColumn struct {
	index int
	name  string
	want  spec.ColumnValues
	// find marks the values of a kind that the policy is about.
	find  finder
	clamp clamper
	typ   arrow.DataType // of the result
	notes []string
}

// newValueStep returns the step for a schema, nil where every value is kept.
func newValueStep(v spec.Values, s *batch.Schema) *valueStep {
	step := &valueStep{in: s, out: s}
	var columns []batch.Column
	for i, c := range s.Columns {
		want := v.Of(s.Table.Schema, s.Table.Name, c.Name)
		if c.Key > 0 {
			for _, p := range []*string{&want.Infinity, &want.BC, &want.NaN, &want.WideNumeric} {
				if *p == nullValue || *p == clampValue {
					*p = failValue // two rows could become one
				}
			}
		}
		col := valueColumn{index: i, name: c.Name, want: want, typ: c.Type}
		col.plan(c)
		if len(col.notes) == 0 {
			continue
		}
		step.columns = append(step.columns, col)
		if !arrow.TypeEqual(col.typ, c.Type) {
			if columns == nil {
				columns = append(columns, s.Columns...)
			}
			columns[i].Type, columns[i].PG = col.typ, pgTypeOf(col.typ)
		}
	}
	if len(step.columns) == 0 {
		return nil
	}
	if columns != nil {
		step.out = &batch.Schema{Table: s.Table, Version: s.Version, Columns: columns}
	}
	return step
}

// pgTypeOf is the PostgreSQL type of a column that a policy has changed.
func pgTypeOf(t arrow.DataType) batch.PGType {
	if d, ok := t.(*arrow.Decimal128Type); ok {
		return batch.PGType{Name: "numeric", OID: 1700, Typmod: d.Precision<<16 | d.Scale + 4, Kind: "b"}
	}
	return batch.PGType{Name: "text", OID: 25, Typmod: -1, Kind: "b"}
}

// plan decides what is done to a column and says so.
func (c *valueColumn) plan(col batch.Column) {
	switch t := col.Type.(type) {
	case *arrow.TimestampType, *arrow.Date32Type:
		c.note("infinity", c.want.Infinity, "the last or first moment of the years 1 to 9999")
		c.note("a date before the year 1", c.want.BC, "the first moment of the year 1")
		c.find, c.clamp = findMoments, clampMoment
	case *arrow.Float32Type, *arrow.Float64Type:
		c.note("NaN or infinity", c.want.NaN, "")
		c.find = findFloats
	case *arrow.Decimal128Type:
		c.note("NaN", c.want.NaN, "")
		c.find = findDecimals
	case *arrow.Decimal256Type:
		c.note("NaN", c.want.NaN, "")
		if t.Scale <= wideDigits {
			c.note("a number of more than 38 digits", c.want.WideNumeric, "the largest number of 38 digits")
			if p := c.want.WideNumeric; c.typ != arrow.BinaryTypes.String && p != keepValue {
				c.typ = &arrow.Decimal128Type{Precision: wideDigits, Scale: t.Scale}
			}
		} else {
			c.want.WideNumeric = keepValue
		}
		c.find, c.clamp = findDecimals, clampDecimal
	case *arrow.StringType:
		if col.PG.Name != "numeric" {
			return
		}
		c.find, c.clamp = findNumericTexts, clampNumericText
		c.note("NaN or infinity", c.want.NaN, "")
		c.note("a number of more than 38 digits", c.want.WideNumeric, "the largest number of 38 digits, decimals beyond are dropped")
		c.typ = col.Type // it is text already
	}
}

// note declares what becomes of a kind of value.
func (c *valueColumn) note(what, policy, clamped string) {
	switch policy {
	case nullValue:
		c.notes = append(c.notes, what+" becomes NULL")
	case clampValue:
		c.notes = append(c.notes, what+" becomes "+clamped)
	case textValue:
		if c.typ != arrow.BinaryTypes.String {
			c.notes = append(c.notes, what+" makes the column text")
		}
		c.typ = arrow.BinaryTypes.String
	case failValue:
		c.notes = append(c.notes, what+" makes a row a failed event")
	}
}

// losses are the declared losses by column (invariant 6).
func (s *valueStep) losses() map[string][]string {
	if s == nil {
		return nil
	}
	out := map[string][]string{}
	for _, c := range s.columns {
		out[c.name] = c.notes
	}
	return out
}

// schema is what comes out for s.
func (s *valueStep) schema(in *batch.Schema) *batch.Schema {
	if s == nil {
		return in
	}
	return s.out
}

// apply returns b as the policies want it, a reference of the caller's, and
// the rows that they refuse. b stays the caller's.
func (s *valueStep) apply(b *batch.Batch) (*batch.Batch, []rowFailure, error) {
	if s == nil {
		b.Retain()
		return b, nil, nil
	}
	if b.IsTruncate() {
		return truncateOf(s.out, b), nil, nil
	}
	arrays := append([]arrow.Array(nil), b.Rows.Columns()...)
	var made []arrow.Array
	defer func() {
		for _, a := range made {
			a.Release()
		}
	}()
	refused := map[int32]string{}
	for i := range s.columns {
		c := &s.columns[i]
		out, err := c.convert(arrays[c.index], refused)
		if err != nil {
			return nil, nil, fmt.Errorf("apply [values] to column %q of %s: %w", c.name, s.in.Table, err)
		}
		if out != nil {
			arrays[c.index] = out
			made = append(made, out)
		}
	}
	out := b.With(s.out, arrays)
	if len(refused) == 0 {
		return out, nil, nil
	}
	defer out.Release()
	var failures []rowFailure
	var keep []int32
	for first := 0; first < b.Len(); first++ {
		last := changeEnd(b, first)
		why := ""
		for row := first; row <= last; row++ {
			why = cmp.Or(refused[int32(row)], why)
		}
		if why == "" {
			keep = append(keep, rowRange(first, last+1)...)
		} else {
			failures = append(failures, rowFailure{lsn: b.LSN[last], ordinal: b.Ordinal[last], plugin: "leat", message: why})
		}
		first = last
	}
	return batch.Take(out, keep), failures, nil
}

// refusal says why a row was set aside. It names no value.
func (c *valueColumn) refusal(k valueKind) string {
	return fmt.Sprintf("column %q: %s, and the policy is fail", c.name, k)
}
