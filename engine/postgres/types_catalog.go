package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/batch"
)

// TypeInfo is what decoding needs to know about a PostgreSQL type.
type TypeInfo struct {
	OID uint32
	// Name is schema-qualified outside pg_catalog; an array is its element's
	// name and [].
	Name string
	// Kind is pg_type.typtype, or 'a' for an array.
	Kind byte
	// Delimiter stands between the elements of an array of this type.
	Delimiter byte
	// Output and Send name the functions that make the text and the binary form:
	// a built-in one by its name, one of C by "c:", its library without path and
	// version, a colon and its symbol, one of another language by "language:" and
	// its body. Send is empty for a type without a binary form.
	Output, Send string
	// Of is the element of an array, the base of a domain, the subtype of a
	// range and the range of a multirange.
	Of uint32
	// BaseTypmod is the typmod that a domain gives its base.
	BaseTypmod int32
	// Attributes are the types of a composite's columns.
	Attributes []uint32
}

// TypeMap is the types of one database by OID. It is read-only once loaded.
type TypeMap struct {
	types map[uint32]*TypeInfo
}

// newTypeMap returns a map of the given types.
func newTypeMap(types ...TypeInfo) *TypeMap {
	m := &TypeMap{types: make(map[uint32]*TypeInfo, len(types))}
	for i := range types {
		m.types[types[i].OID] = &types[i]
	}
	return m
}

const typesQuery = `
SELECT t.oid,
       CASE WHEN n.nspname = 'pg_catalog' THEN '' ELSE n.nspname || '.' END || t.typname,
       CASE WHEN t.typtype = 'b' AND t.typoutput = 'pg_catalog.array_out'::regproc THEN 'a' ELSE t.typtype::text END,
       t.typdelim::text,
       CASE WHEN ol.lanname = 'internal' THEN '' ELSE ol.lanname || ':' END || CASE WHEN ol.lanname = 'c' THEN pg_catalog.regexp_replace(o.probin, %[2]s, '', 'g') || ':' ELSE '' END || o.prosrc,
       CASE WHEN s.oid IS NULL THEN '' ELSE
         CASE WHEN sl.lanname = 'internal' THEN '' ELSE sl.lanname || ':' END || CASE WHEN sl.lanname = 'c' THEN pg_catalog.regexp_replace(s.probin, %[2]s, '', 'g') || ':' ELSE '' END || s.prosrc END,
       coalesce(CASE t.typtype WHEN 'd' THEN t.typbasetype WHEN 'r' THEN r.rngsubtype %[1]s ELSE t.typelem END, 0),
       t.typtypmod,
       coalesce(a.types, '{}')
  FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  JOIN pg_catalog.pg_proc o ON o.oid = t.typoutput
  JOIN pg_catalog.pg_language ol ON ol.oid = o.prolang
  LEFT JOIN pg_catalog.pg_proc s ON s.oid = t.typsend
  LEFT JOIN pg_catalog.pg_language sl ON sl.oid = s.prolang
  LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
  LEFT JOIN (SELECT attrelid, array_agg(atttypid ORDER BY attnum) AS types
               FROM pg_catalog.pg_attribute WHERE attnum > 0 AND NOT attisdropped GROUP BY attrelid) a
       ON a.attrelid = t.typrelid AND t.typtype = 'c'`

// libraryTrim matches what is left out of the name of a C library: the path
// and the version, as in $libdir/postgis-3.
const libraryTrim = `'^.*/|-[0-9.]+$'`

// loadTypes reads the types of the database that conn is connected to.
func loadTypes(ctx context.Context, conn *pgx.Conn) (*TypeMap, error) {
	version, err := majorVersion(conn.PgConn().ParameterStatus("server_version"))
	if err != nil {
		return nil, fmt.Errorf("load types: %w", err)
	}
	multirange := ""
	if version >= 14 {
		multirange = "WHEN 'm' THEN (SELECT rngtypid FROM pg_catalog.pg_range WHERE rngmultitypid = t.oid)"
	}
	rows, err := conn.Query(ctx, fmt.Sprintf(typesQuery, multirange, libraryTrim))
	if err != nil {
		return nil, fmt.Errorf("load types: %w", err)
	}
	types, err := pgx.CollectRows(rows, scanType)
	if err != nil {
		return nil, fmt.Errorf("load types: %w", err)
	}
	m := newTypeMap(types...)
	m.nameArrays()
	return m, nil
}

func scanType(row pgx.CollectableRow) (TypeInfo, error) {
	var t TypeInfo
	var kind, delimiter string
	err := row.Scan(&t.OID, &t.Name, &kind, &delimiter, &t.Output, &t.Send, &t.Of, &t.BaseTypmod, &t.Attributes)
	if err != nil {
		return t, err
	}
	if len(kind) != 1 || len(delimiter) != 1 {
		return t, fmt.Errorf("type %d: kind %q, delimiter %q: want one byte each", t.OID, kind, delimiter)
	}
	t.Kind, t.Delimiter = kind[0], delimiter[0]
	return t, nil
}

func (m *TypeMap) nameArrays() {
	for _, t := range m.types {
		if t.Kind == 'a' && m.types[t.Of] != nil {
			t.Name = m.types[t.Of].Name + "[]"
		}
	}
}

// majorVersion reads the first number of server_version: 15 of "15.18 (Debian)".
func majorVersion(version string) (int, error) {
	digits := len(version)
	if i := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		digits = i
	}
	n, err := strconv.Atoi(version[:digits])
	if err != nil {
		return 0, fmt.Errorf("server version %q: want a number first", version)
	}
	return n, nil
}

// Has says whether the map knows the type.
func (m *TypeMap) Has(oid uint32) bool { return m.types[oid] != nil }

// base follows domains to the type under them. A typmod given by the innermost
// domain replaces the column's own.
func (m *TypeMap) base(oid uint32, typmod int32) (*TypeInfo, int32) {
	t := m.types[oid]
	for t != nil && t.Kind == 'd' {
		oid, typmod = t.Of, t.BaseTypmod
		t = m.types[oid]
	}
	return t, typmod
}

// Column describes a column of the type oid. A type that the map does not know
// is text.
func (m *TypeMap) Column(name string, oid uint32, typmod int32, nullable bool) batch.Column {
	pg := batch.PGType{Name: "unknown", OID: oid, Typmod: typmod}
	if t := m.types[oid]; t != nil {
		pg.Name, pg.Kind = t.Name, string(t.Kind)
		if t.Kind == 'a' && t.Delimiter != ',' {
			pg.Delimiter = string(t.Delimiter)
		}
	}
	plain := batch.PGType{OID: oid, Typmod: typmod}
	if t, mod := m.base(oid, typmod); t != nil {
		plain.OID, plain.Typmod = t.OID, mod
	}
	return batch.Column{Name: name, Type: columnType(plain), PG: pg, Nullable: nullable}
}
