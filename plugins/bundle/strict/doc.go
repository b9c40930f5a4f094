// Package strict reads TOML into Go structs and forgives nothing: an unknown
// key, a wrong type or a value out of range is an error that names file, line
// and column, the key and, where there is one, the key that was probably
// meant. All errors of a file are reported together.
//
// A key is defined once, by a struct field and its tags:
//
//	toml      name of the key; "-" leaves the field out
//	doc       what it does, in full sentences
//	default   the value where the key is missing, as it would stand in TOML
//	          (strings without quotes, lists as a comma-separated text)
//	enum      the allowed words of a string, separated by |
//	min, max  the range of a number, duration or size, or the length of a
//	          string in characters
//	required  "true" where the key must be there
//
// A field with toml "*", a slice of structs, takes the tables under all other
// names, in the order of the file; contains is a text that such a name must
// hold, so that a mistyped key is still unknown. In these structs the field
// with toml "@" takes the name.
//
// Fields are strings, booleans, ints, int64s, Bytes, time.Durations, types
// that implement Value, structs (a table), and slices of these. The JSON
// Schema and the reference text come from the same tags.
package strict
