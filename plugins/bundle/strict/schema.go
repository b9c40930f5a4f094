package strict

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// Schema returns the JSON Schema (2020-12) of the files that Decode reads into
// a struct like v.
func Schema(v any, title, description string) []byte {
	s := tableSchema(reflect.TypeOf(v))
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"], s["description"] = title, description
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("JSON Schema of %T: %v", v, err)) // a programming error
	}
	return append(text, '\n')
}

func tableSchema(t reflect.Type) map[string]any {
	properties := map[string]any{}
	var required []string
	for _, k := range keysOf(t) {
		s := typeSchema(k.typ, &k)
		s["description"] = k.doc()
		if v := k.defaultOf(); v != nil {
			s["default"] = v
		}
		properties[k.name] = s
		if k.required {
			required = append(required, k.name)
		}
	}
	out := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if required != nil {
		out["required"] = required
	}
	if field, contains, ok := othersOf(t); ok {
		f := t.Field(field)
		one := tableSchema(f.Type.Elem())
		one["description"] = f.Tag.Get("doc")
		out["patternProperties"] = map[string]any{regexp.QuoteMeta(contains): one}
	}
	return out
}

func typeSchema(t reflect.Type, k *key) map[string]any {
	switch {
	case isValue(t):
		return reflect.New(t).Interface().(Value).JSONSchema()
	case t == durationType:
		return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`, "examples": []string{"30s"}}
	case t == bytesType:
		return map[string]any{"type": []string{"string", "integer"}, "pattern": `^[0-9]+ ?([kKmMgGtT][iI]?)?[bB]$`, "minimum": 0, "examples": []string{"64MB"}}
	}
	switch t.Kind() {
	case reflect.Struct:
		return tableSchema(t)
	case reflect.Slice:
		return map[string]any{"type": "array", "items": typeSchema(t.Elem(), k)}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		s := map[string]any{"type": "string"}
		if enum := k.enum(); enum != nil {
			s["enum"] = enum
		}
		limit(s, k, "minLength", "maxLength")
		return s
	}
	s := map[string]any{"type": "integer"}
	limit(s, k, "minimum", "maximum")
	if s["minimum"] == nil {
		s["minimum"] = 0
	}
	return s
}

func limit(s map[string]any, k *key, lo, hi string) {
	for tag, word := range map[string]string{"min": lo, "max": hi} {
		if text, ok := k.tag.Lookup(tag); ok {
			s[word] = parseScalar(reflect.TypeFor[int64](), text)
		}
	}
}

// Reference returns the keys of a struct like v as Markdown, a section for
// each table.
func Reference(v any) string {
	var b strings.Builder
	reference(&b, reflect.TypeOf(v), "", false)
	return b.String()
}

func reference(b *strings.Builder, t reflect.Type, table string, array bool) {
	keys := keysOf(t)
	switch {
	case table == "":
		b.WriteString("## Top level\n\n")
	case array:
		fmt.Fprintf(b, "\n## `[[%s]]`\n\n", table)
	default:
		fmt.Fprintf(b, "\n## `[%s]`\n\n", table)
	}
	b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, k := range keys {
		fallback := ""
		if k.required {
			fallback = "required"
		} else if text, ok := k.tag.Lookup("default"); ok {
			fallback = "`" + text + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.name, escapeCell(describe(&k)), escapeCell(fallback), escapeCell(k.doc()))
	}
	for _, k := range keys {
		name := k.name
		if table != "" {
			name = table + "." + k.name
		}
		switch {
		case isTable(k.typ):
			reference(b, k.typ, name, false)
		case k.typ.Kind() == reflect.Slice && isTable(k.typ.Elem()):
			reference(b, k.typ.Elem(), name, true)
		}
	}
	if field, _, ok := othersOf(t); ok {
		f := t.Field(field)
		reference(b, f.Type.Elem(), table+"."+f.Tag.Get("name"), false)
	}
}

func escapeCell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func describe(k *key) string {
	if enum := k.enum(); enum != nil {
		quoted := make([]string, len(enum))
		for i, e := range enum {
			quoted[i] = strconv.Quote(e)
		}
		return "`" + strings.Join(quoted, "`, `") + "`"
	}
	s := typeName(k.typ)
	lo, hasLo := k.tag.Lookup("min")
	hi, hasHi := k.tag.Lookup("max")
	if !hasLo && !hasHi {
		return s
	}
	s += ", " + rangeText(lo, hi)
	if k.typ.Kind() == reflect.String {
		s += " characters"
	}
	return s
}
