package strict

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// Document is a TOML text with the places of its keys and the faults found in
// it so far.
type Document struct {
	file   string
	text   string
	tree   map[string]any
	places map[string]int
	errs   Errors
}

// Decode reads a TOML text into a struct. A text that is not TOML at all gives
// an error; every other fault is kept in the document, to which the caller may
// add its own before it asks for Err. What could not be read keeps its default.
func Decode(file string, text []byte, into any) (*Document, error) {
	d := &Document{file: file, text: string(text)}
	if _, err := toml.Decode(d.text, &d.tree); err != nil {
		var parse toml.ParseError
		if !errors.As(err, &parse) {
			return nil, Errors{{File: file, Line: 1, Column: 1, Message: err.Error()}}
		}
		line, column := lineColumn(d.text, parse.Position.Start)
		return nil, Errors{{File: file, Line: line, Column: column, Key: parse.LastKey, Message: withoutText(parse.Message)}}
	}
	d.places = locate(d.text)
	d.table(nil, d.tree, reflect.ValueOf(into).Elem())
	return d, nil
}

// withoutText takes what the parser found out of its message: it may be part
// of a password without quotes.
func withoutText(message string) string {
	if before, _, found := strings.Cut(message, " but found \""); found {
		return before + ": a string stands in quotes"
	}
	return message
}

// Has says whether the file names the path.
func (d *Document) Has(p Path) bool {
	_, ok := d.places[p.id()]
	return ok
}

// Place returns line and column of a path, or of the nearest thing above it
// that the file names.
func (d *Document) Place(p Path) (line, column int) {
	for ; len(p) > 0; p = p[:len(p)-1] {
		if at, ok := d.places[p.id()]; ok {
			return lineColumn(d.text, at)
		}
	}
	return 0, 0
}

// Fault adds an error about the value at p; the message completes the sentence
// "key ... ". The first fault of a path hides later ones.
func (d *Document) Fault(p Path, format string, args ...any) {
	for _, e := range d.errs {
		if e.Key == p.String() {
			return
		}
	}
	line, column := d.Place(p)
	d.errs = append(d.errs, &Error{d.file, line, column, p.String(), fmt.Sprintf("key %q %s", p, fmt.Sprintf(format, args...))})
}

// Err returns the faults found so far as Errors, nil where there are none.
func (d *Document) Err() error {
	if len(d.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(d.errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return d.errs
}

func (d *Document) table(p Path, tree map[string]any, into reflect.Value) {
	keys := keysOf(into.Type())
	names := make([]string, len(keys))
	for i := range keys {
		k := &keys[i]
		names[i] = k.name
		v, given := tree[k.name]
		field := into.Field(k.field)
		switch {
		case given:
			d.setDefault(p, k, field)
			d.value(p.Key(k.name), k, v, field)
		case k.required:
			d.Fault(p.Key(k.name), "is missing")
		case isTable(k.typ):
			d.table(p.Key(k.name), nil, field)
		default:
			d.setDefault(p, k, field)
		}
	}
	var rest []string
	field, contains, open := othersOf(into.Type())
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		switch {
		case slices.Contains(names, name):
		case open && strings.Contains(name, contains):
			rest = append(rest, name)
		default:
			d.Fault(p.Key(name), "is unknown: %s", Suggest(name, names))
		}
	}
	if rest != nil {
		d.others(p, rest, tree, into.Field(field))
	}
}

// others reads the tables of the given names, in the order of the file.
func (d *Document) others(p Path, names []string, tree map[string]any, into reflect.Value) {
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(d.places[p.Key(a).id()], d.places[p.Key(b).id()]) })
	out := reflect.MakeSlice(into.Type(), len(names), len(names))
	for i, name := range names {
		one := out.Index(i)
		d.value(p.Key(name), &key{}, tree[name], one)
		for f := range one.NumField() {
			if one.Type().Field(f).Tag.Get("toml") == named {
				d.value(p.Key(name), &key{}, name, one.Field(f))
			}
		}
	}
	into.Set(out)
}

func (d *Document) setDefault(p Path, k *key, field reflect.Value) {
	if v := k.defaultOf(); v != nil {
		d.value(p.Key(k.name), k, v, field)
	}
}

func (d *Document) value(p Path, k *key, v any, into reflect.Value) {
	t := into.Type()
	if isValue(t) {
		if err := into.Addr().Interface().(Value).FromTOML(v); err != nil {
			d.Fault(p, "%s", err)
		}
		return
	}
	if t == durationType || t == bytesType {
		d.quantity(p, k, v, into)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		if tree, ok := v.(map[string]any); ok {
			d.table(p, tree, into)
			return
		}
	case reflect.Slice:
		if list, ok := elements(v); ok {
			out := reflect.MakeSlice(t, len(list), len(list))
			for i, e := range list {
				d.value(p.Index(i), k, e, out.Index(i))
			}
			into.Set(out)
			return
		}
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			into.SetBool(b)
			return
		}
	case reflect.Int, reflect.Int64:
		if n, ok := v.(int64); ok {
			if d.inRange(p, k, n, func(s string) int64 { return parseScalar(t, s).(int64) }) {
				into.SetInt(n)
			}
			return
		}
	case reflect.String:
		if s, ok := v.(string); ok {
			if d.checkText(p, k, s) {
				into.SetString(s)
			}
			return
		}
	default:
		panic(fmt.Sprintf("key %s: type %s", p, t)) // a programming error
	}
	d.Fault(p, "must be %s, not %s", typeName(t), foundName(v))
}

// quantity reads what is a text with a unit.
func (d *Document) quantity(p Path, k *key, v any, into reflect.Value) {
	size := into.Type() == bytesType
	if n, ok := v.(int64); ok && size {
		if d.inRange(p, k, n, mustBytes) {
			into.SetInt(n)
		}
		return
	}
	s, ok := v.(string)
	if !ok {
		d.Fault(p, "must be %s, not %s", typeName(into.Type()), foundName(v))
		return
	}
	if size {
		b, err := ParseBytes(s)
		if err != nil {
			d.Fault(p, "is wrong: %v", err)
		} else if d.inRange(p, k, int64(b), mustBytes) {
			into.SetInt(int64(b))
		}
		return
	}
	dur, err := time.ParseDuration(s)
	if err != nil {
		d.Fault(p, "is not a duration: want a number and ms, s, m or h, for example \"30s\"")
	} else if d.inRange(p, k, int64(dur), mustDuration) {
		into.SetInt(int64(dur))
	}
}

func mustBytes(s string) int64 {
	b, err := ParseBytes(s)
	if err != nil {
		panic(err) // a programming error in a tag
	}
	return int64(b)
}

func mustDuration(s string) int64 {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err) // a programming error in a tag
	}
	return int64(d)
}

// inRange holds n against the min and max of the key.
func (d *Document) inRange(p Path, k *key, n int64, parse func(string) int64) bool {
	lo, hasLo := k.tag.Lookup("min")
	hi, hasHi := k.tag.Lookup("max")
	switch {
	case hasLo && n < parse(lo) || hasHi && n > parse(hi):
		d.Fault(p, "is out of range: want %s", rangeText(lo, hi))
	case !hasLo && n < 0:
		d.Fault(p, "must not be negative")
	default:
		return true
	}
	return false
}

func rangeText(lo, hi string) string {
	switch {
	case hi == "":
		return "at least " + lo
	case lo == "":
		return "at most " + hi
	}
	return lo + " to " + hi
}

func (d *Document) checkText(p Path, k *key, s string) bool {
	if enum := k.enum(); enum != nil && !slices.Contains(enum, s) {
		near := ""
		if n := Nearest(s, enum); n != "" {
			near = fmt.Sprintf(", did you mean %q?", n)
		}
		d.Fault(p, "is %q: want one of %s%s", s, strings.Join(enum, ", "), near)
		return false
	}
	lo, hasLo := k.tag.Lookup("min")
	hi, hasHi := k.tag.Lookup("max")
	n := int64(utf8.RuneCountInString(s))
	number := reflect.TypeFor[int64]()
	if hasLo && n < parseScalar(number, lo).(int64) || hasHi && n > parseScalar(number, hi).(int64) {
		d.Fault(p, "has %d characters: want %s", n, rangeText(lo, hi))
		return false
	}
	return true
}

// elements returns the elements of an array of values or of tables.
func elements(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case []map[string]any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = v[i]
		}
		return out, true
	}
	return nil, false
}

func typeName(t reflect.Type) string {
	switch {
	case isValue(t):
		return reflect.New(t).Interface().(Value).TypeName()
	case t == durationType:
		return `a duration such as "30s"`
	case t == bytesType:
		return `a size such as "64MB"`
	}
	switch t.Kind() {
	case reflect.Struct:
		return "a table"
	case reflect.Slice:
		if isTable(t.Elem()) {
			return "an array of tables"
		}
		return "a list"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	}
	return "an integer"
}

func foundName(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a decimal number"
	case bool:
		return "true or false"
	case time.Time:
		return "a date or time"
	case map[string]any:
		return "a table"
	}
	return "a list"
}
