package spec

import "slices"

// Values is what becomes of values that not every destination can hold.
type Values struct {
	Infinity    string `toml:"infinity" doc:"infinity and -infinity of date, timestamp and timestamptz. keep hands them on; null replaces them by NULL, clamp by the last and first moment of the years 1 to 9999; text makes the column text; fail sets the row aside as a failed event. In columns of a key null and clamp could make two rows one: there they are fail." default:"keep" enum:"keep|null|clamp|text|fail"`
	BC          string `toml:"bc" doc:"Dates and timestamps before the year 1, as infinity. clamp replaces them by the first moment of the year 1." default:"keep" enum:"keep|null|clamp|text|fail"`
	NaN         string `toml:"nan" doc:"NaN, Infinity and -Infinity of numeric, real and double precision, as infinity; there is nothing to clamp them to." default:"keep" enum:"keep|null|text|fail"`
	WideNumeric string `toml:"wide_numeric" doc:"Numbers of more than 38 digits. keep hands them on: as text, or as a wide decimal where the column has a precision. With null, clamp (to the largest number of 38 digits, or without the decimals beyond) and fail a column of a precision beyond 38 becomes a decimal of 38 digits; text makes it text." default:"keep" enum:"keep|null|clamp|text|fail"`

	Columns []ColumnValues `toml:"columns" doc:"What differs for single columns. The first section that names a column counts."`
}

// ColumnValues is Values for the columns of some tables; what it leaves out is
// the pipeline's.
type ColumnValues struct {
	Tables      []Pattern `toml:"tables" doc:"Patterns of the tables." default:"*.*"`
	Columns     []string  `toml:"columns" doc:"Names of the columns." required:"true"`
	Infinity    string    `toml:"infinity" doc:"As in the section above." enum:"keep|null|clamp|text|fail"`
	BC          string    `toml:"bc" doc:"As in the section above." enum:"keep|null|clamp|text|fail"`
	NaN         string    `toml:"nan" doc:"As in the section above." enum:"keep|null|text|fail"`
	WideNumeric string    `toml:"wide_numeric" doc:"As in the section above." enum:"keep|null|clamp|text|fail"`
}

// Of returns what holds for a column of a table.
func (v Values) Of(schema, table, column string) ColumnValues {
	out := ColumnValues{Infinity: v.Infinity, BC: v.BC, NaN: v.NaN, WideNumeric: v.WideNumeric}
	for _, c := range v.Columns {
		if !slices.Contains(c.Columns, column) || !slices.ContainsFunc(c.Tables, func(p Pattern) bool { return p.Match(schema, table) }) {
			continue
		}
		for _, p := range []struct{ to, from *string }{{&out.Infinity, &c.Infinity}, {&out.BC, &c.BC}, {&out.NaN, &c.NaN}, {&out.WideNumeric, &c.WideNumeric}} {
			if *p.from != "" {
				*p.to = *p.from
			}
		}
		break
	}
	return out
}
