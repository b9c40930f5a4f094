package main

import (
	"fmt"
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
	"github.com/leat-etl/leat/plugins/destinations/internal/relational"
)

// ofExtension maps the types that columns keep where the destination has them
// to their extension. Their text form holds every value.
var ofExtension = map[string]string{
	"hstore": "hstore", "citext": "citext", "ltree": "ltree", "lquery": "ltree", "ltxtquery": "ltree",
	"vector": "vector", "halfvec": "vector", "sparsevec": "vector", "geometry": "postgis", "geography": "postgis",
}

// extensions maps the types of extensions that the destination has, and that
// Leat may use, to the name that format_type prints. It is read when the
// destination is opened.
var extensions map[string]string

func readExtensions() (map[string]string, error) {
	rows, err := pdk.Query(`SELECT e.extname, t.typname, pg_catalog.format_type(t.oid, NULL) FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid AND d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.deptype = 'e' JOIN pg_catalog.pg_type t ON t.oid = d.objid WHERE pg_catalog.has_type_privilege(t.oid, 'USAGE') AND pg_catalog.has_schema_privilege(t.typnamespace, 'USAGE')`)
	if err != nil {
		return nil, fmt.Errorf("read the types of extensions: %w", err)
	}
	out := map[string]string{}
	for _, r := range rows.Rows {
		if ofExtension[*r[1]] == *r[0] {
			out[*r[1]] = *r[2]
		}
	}
	return out, nil
}

// extensionMapping is the type of a column whose type at the source is one of
// an extension, or an array of one; ok is false for all others.
func extensionMapping(c pdk.Column) (m relational.Mapping, ok bool) {
	name, array := strings.CutSuffix(c.PG.Name[strings.LastIndexByte(c.PG.Name, '.')+1:], "[]")
	extension, known := ofExtension[name]
	if !known || c.Format != pdk.FormatText || !strings.Contains(c.PG.Name, ".") || array != (c.PG.Kind == "a") || !array && c.PG.Kind != "b" {
		return m, false
	}
	here, installed := extensions[name]
	switch {
	case c.Key > 0:
		// Rows are told apart by the bytes of their keys, as in the log: the
		// type's own equality may be another, as citext's is.
		m.Type = "text"
	case !installed:
		m.Type = "text"
		m.Losses = []string{fmt.Sprintf("text that holds every value: the destination has no extension %[1]s (CREATE EXTENSION %[1]s there before the first run keeps the type)", extension)}
	default:
		m.Type = here
		if extension == "vector" && c.PG.Typmod > 0 {
			m.Type += fmt.Sprintf("(%d)", c.PG.Typmod)
		}
		if array {
			m.Type += "[]"
		}
	}
	return m, true
}
