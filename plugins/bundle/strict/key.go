package strict

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Value is implemented by pointers to types that read themselves from TOML and
// describe themselves in JSON Schema.
type Value interface {
	// FromTOML takes what the parser made: string, int64, float64, bool,
	// time.Time, []any or map[string]any. Its error completes the sentence
	// "key ... ".
	FromTOML(v any) error
	// JSONSchema returns the schema of a value; TypeName its name for people.
	JSONSchema() map[string]any
	TypeName() string
}

var (
	valueType    = reflect.TypeFor[Value]()
	durationType = reflect.TypeFor[time.Duration]()
	bytesType    = reflect.TypeFor[Bytes]()
)

// key is the definition of one key.
type key struct {
	name     string
	field    int
	typ      reflect.Type
	tag      reflect.StructTag
	required bool
}

func (k *key) doc() string { return k.tag.Get("doc") }

func (k *key) enum() []string {
	if e := k.tag.Get("enum"); e != "" {
		return strings.Split(e, "|")
	}
	return nil
}

// Names of fields that are no key of their own: others takes the tables under
// every other name, named the name of such a table.
const (
	others = "*"
	named  = "@"
)

// othersOf returns the field of a struct that takes the tables under names
// which the struct does not define, with what such a name must contain.
func othersOf(t reflect.Type) (field int, contains string, ok bool) {
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("toml") == others {
			return i, f.Tag.Get("contains"), true
		}
	}
	return 0, "", false
}

// keysOf returns the keys that a struct defines, in its order.
func keysOf(t reflect.Type) []key {
	var keys []key
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("toml")
		if name == "" || name == "-" || name == others || name == named {
			continue
		}
		keys = append(keys, key{name, i, f.Type, f.Tag, f.Tag.Get("required") == "true"})
	}
	return keys
}

func isValue(t reflect.Type) bool { return reflect.PointerTo(t).Implements(valueType) }

func isTable(t reflect.Type) bool { return t.Kind() == reflect.Struct && !isValue(t) }

// defaultOf returns the default as the parser would have made it, nil where
// there is none.
func (k *key) defaultOf() any {
	text, ok := k.tag.Lookup("default")
	if !ok {
		return nil
	}
	if k.typ.Kind() == reflect.Slice && !isValue(k.typ) {
		list := []any{}
		for part := range strings.SplitSeq(text, ",") {
			list = append(list, parseScalar(k.typ.Elem(), part))
		}
		return list
	}
	return parseScalar(k.typ, text)
}

func parseScalar(t reflect.Type, text string) any {
	if isValue(t) || t == durationType || t == bytesType {
		return text
	}
	switch t.Kind() {
	case reflect.Bool:
		return text == "true"
	case reflect.Int, reflect.Int64:
		var n int64
		if _, err := fmt.Sscan(text, &n); err != nil {
			panic(fmt.Sprintf("default %q of a number: %v", text, err)) // a programming error
		}
		return n
	}
	return text
}
