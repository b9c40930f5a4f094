package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/batch"
)

// partitionRootVersion is the first version that can publish a partitioned
// table as one object (publish_via_partition_root).
const partitionRootVersion = 130000

// generatedVersion is the first version whose pgoutput sends the values of
// stored generated columns, if the publication asks for it.
const generatedVersion = 180000

// ReplicaIdentity is pg_class.relreplident: which old values the log has of
// an updated or deleted row.
type ReplicaIdentity string

// The identities.
const (
	IdentityDefault ReplicaIdentity = "default"
	IdentityIndex   ReplicaIdentity = "index"
	IdentityFull    ReplicaIdentity = "full"
	IdentityNothing ReplicaIdentity = "nothing"
)

// Kind is what an object is.
type Kind string

// The kinds.
const (
	OrdinaryTable    Kind = "table"
	PartitionedTable Kind = "partitioned table"
	View             Kind = "view"
	MaterializedView Kind = "materialized view"
	ForeignTable     Kind = "foreign table"
)

// Table is an object that Leat may replicate: a table, or the root of a
// partitioned table with all its partitions.
type Table struct {
	OID  uint32 `json:"oid"`
	Kind Kind   `json:"kind"`
	// Schema has the columns that travel. Its key is the primary key, or the
	// replica identity's index, or nothing.
	Schema *batch.Schema `json:"schema"`
	// Skipped are the generated columns that the log does not carry: virtual
	// ones, before PostgreSQL 18 stored ones, too.
	Skipped  []string        `json:"skipped,omitempty"`
	Identity ReplicaIdentity `json:"identity"`
	// Keyless says that the log identifies no row for UPDATE and DELETE in the
	// table or in one of its partitions, so that only inserts and truncates
	// are published: to publish more would make them fail at the source. A
	// table under REPLICA IDENTITY FULL without a usable primary key is not
	// keyless although its schema has no key: the log has the whole old row.
	Keyless bool `json:"keyless,omitempty"`
	// Reason is why the object cannot be replicated from the log, empty where
	// it can.
	Reason string `json:"reason,omitempty"`
	// Fix is what mends Reason, where something does.
	Fix string `json:"fix,omitempty"`
	// Pages is the size of the main fork in blocks, Bytes that of the table
	// with its TOAST data, Rows an estimate, -1 where there is none.
	Pages int64 `json:"pages"`
	Bytes int64 `json:"bytes"`
	Rows  int64 `json:"rows"`
	// Leaves are the relations that hold the rows: the table itself, or the
	// partitions at the bottom of a partitioned table.
	Leaves []Leaf `json:"leaves,omitempty"`
	// RowSecurity says that policies hide rows from roles without BYPASSRLS.
	RowSecurity bool `json:"row_security,omitempty"`

	hasPrimaryKey bool
	// immediateKey says that the primary key identifies rows in the log: one
	// that is DEFERRABLE may hold two rows of one key in the middle of a
	// transaction. notFull: the table, or a partition, is not under FULL.
	immediateKey, notFull bool
	queried               bool        // it is read by queries: what the log lacks does not matter
	order                 *Cursor     // of the rows in a historical load; nil is that of the blocks
	foreign               bool        // it, or a partition of it, is no table of this server
	attributes            []attribute // all that the table ever had
	forms                 []typeForm  // of the types behind its columns
}

// Leaf is a relation with storage.
type Leaf struct {
	OID    uint32 `json:"oid"`
	Schema string `json:"schema"`
	Name   string `json:"name"`
	Pages  int64  `json:"pages"`
	Bytes  int64  `json:"bytes"`
	// Filenode changes when the table is rewritten.
	Filenode uint32 `json:"filenode"`
	// Attached says that it was a table of its own before it became a partition,
	// or is below one that was.
	Attached bool `json:"attached,omitempty"`
}

// Storage names where the rows are: another one after the table, or one of its
// partitions, was rewritten.
func (t *Table) Storage() string {
	nodes := make([]string, len(t.Leaves))
	for i, l := range t.Leaves {
		nodes[i] = strconv.FormatUint(uint64(l.Filenode), 10)
	}
	return strings.Join(nodes, ",")
}

// noParts is Parts of a partitioned table that has no partition.
const noParts = "none"

// Parts names the relations that hold the rows of a partitioned table.
func (t *Table) Parts() string {
	if t.Kind != PartitionedTable {
		return ""
	}
	if len(t.Leaves) == 0 {
		return noParts
	}
	oids := make([]string, len(t.Leaves))
	for i, l := range t.Leaves {
		oids[i] = strconv.FormatUint(uint64(l.OID), 10)
	}
	return strings.Join(oids, ",")
}

// PartsMoved says why the rows of a partitioned table are others than the log
// tells since Parts and Storage were these, empty if they are not, and whether
// there may be less of them. made are parts that came as partitions: their rows
// are in the log, unless Source.BornWithRows says otherwise.
//
// The log tells of a TRUNCATE of the whole table only. One of a partition looks
// like whatever else writes its rows anew.
func (t *Table) PartsMoved(parts, storage string) (why string, less bool, made []Leaf) {
	if parts == "" {
		return "", false, nil
	}
	nodes := strings.Split(storage, ",")
	before := map[string]string{}
	for i, oid := range strings.Split(parts, ",") {
		if i < len(nodes) && parts != noParts {
			before[oid] = nodes[i]
		}
	}
	for _, l := range t.Leaves {
		oid, node := strconv.FormatUint(uint64(l.OID), 10), strconv.FormatUint(uint64(l.Filenode), 10)
		was, known := before[oid]
		delete(before, oid)
		switch {
		case known && was != node:
			why, less = fmt.Sprintf("partition %s.%s was truncated or written anew, which the log does not tell", l.Schema, l.Name), true
		case !known && l.Attached && !less:
			why = l.brought()
		case !known:
			made = append(made, l)
		}
	}
	if len(before) > 0 {
		why, less = "a partition was detached or dropped, and its rows are no longer in the table", true
	}
	return why, less, made
}

// brought says that rows came with a partition.
func (l *Leaf) brought() string {
	return fmt.Sprintf("table %s.%s was attached to it as a partition, with its rows", l.Schema, l.Name)
}

// BornWithRows says that rows came with partitions which were made, filled and
// attached in one transaction, empty if none were.
func (s *Source) BornWithRows(ctx context.Context, leaves []Leaf) (why string, err error) {
	err = s.do(ctx, func(conn *pgx.Conn) error {
		for i := range leaves {
			if leaves[i].Pages == 0 || why != "" {
				continue
			}
			born := false
			if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM ONLY `+leaves[i].quoted()+` WHERE xmin = (
				SELECT a.xmin FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND a.attnum = -1))`, leaves[i].OID).Scan(&born); err != nil {
				return err
			}
			if born {
				why = leaves[i].brought()
			}
		}
		return nil
	})
	return why, wrap("look into partitions of", "database "+s.Database, err)
}

// Definition is another one after a column that travels was added, dropped or
// altered.
func (t *Table) Definition() string {
	h := fnv.New64a()
	for _, a := range t.attributes {
		if !a.dropped && !a.generated {
			fmt.Fprintf(h, "%d:%d ", a.id, a.written)
		}
	}
	return strconv.FormatUint(h.Sum64(), 16)
}

// quoted is the leaf's name in SQL.
func (l *Leaf) quoted() string { return quoteName(l.Schema, l.Name) }

// ID names the table.
func (t *Table) ID() batch.TableID { return t.Schema.Table }

// quoted is the table's name in SQL.
func (t *Table) quoted() string { return quoteName(t.Schema.Table.Schema, t.Schema.Table.Name) }

// relation is a row of pg_class as relationQuery returns it.
type relation struct {
	root, oid                      uint32
	schema, name                   string
	kind, persistence, replident   string
	rowSecurity                    bool
	pages, bytes, rows             int64
	filenode                       uint32
	hasPrimaryKey, hasIdentityUniq bool
	attached                       bool
}

// relationQuery reads the objects $1 and all partitions under them. A table and
// its place in a tree are written by one transaction if it was created as a
// partition. attached is the age of the youngest place in the path that was
// not; it is no older than the table itself if that came with it. The functions
// that measure a relation wait for whoever has locked it, or waits for that: an
// ALTER TABLE in a long transaction, a prepared one. Such a relation is taken as
// large as ANALYZE has found it.
const relationQuery = `WITH RECURSIVE locked AS (
		SELECT DISTINCT relation FROM pg_catalog.pg_locks WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock' AND pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
		AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())),
	tree(root, oid, attached, made) AS (
		SELECT oid, oid, NULL::int, NULL::int FROM pg_catalog.pg_class WHERE oid = ANY($1::oid[])
		UNION ALL SELECT t.root, i.inhrelid,
			CASE WHEN i.xmin::text <> a.xmin::text THEN least(t.attached, age(i.xmin)) ELSE t.attached END, age(a.xmin)
		FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
		JOIN pg_catalog.pg_class child ON child.oid = i.inhrelid
		JOIN pg_catalog.pg_attribute a ON a.attrelid = child.oid AND a.attnum = -1 WHERE child.relispartition)
	SELECT t.root, c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text, c.relreplident::text,
		c.relrowsecurity, s.pages, s.bytes,
		(CASE WHEN c.reltuples < 0 OR c.relpages = 0 THEN -1 ELSE c.reltuples / c.relpages * s.pages END)::bigint,
		coalesce(pg_catalog.pg_relation_filenode(c.oid), 0),
		coalesce(k.pk, false), coalesce(k.ident, false), coalesce(t.attached <= t.made, false)
	FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	LEFT JOIN locked ON locked.relation = c.oid
	CROSS JOIN LATERAL (SELECT pg_catalog.current_setting('block_size')::bigint AS bytes, greatest(c.relpages, 1)::bigint AS pages) b
	CROSS JOIN LATERAL (SELECT
		CASE WHEN c.relkind NOT IN ('r', 'm') THEN 0 WHEN locked.relation IS NOT NULL THEN b.pages
			ELSE coalesce(pg_catalog.pg_relation_size(c.oid), 0) / b.bytes END AS pages,
		CASE WHEN c.relkind NOT IN ('r', 'm') THEN 0 WHEN locked.relation IS NOT NULL THEN b.pages * b.bytes
			ELSE coalesce(pg_catalog.pg_table_size(c.oid), 0) END AS bytes) s
	LEFT JOIN LATERAL (SELECT bool_or(indisprimary) pk, bool_or(indisreplident) ident FROM pg_catalog.pg_index i
		WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate AND (indisprimary OR indisreplident)) k ON true
	ORDER BY n.nspname, c.relname`

// load reads the tables with these OIDs as they are at one moment. Those that
// are gone are left out. The caller holds s.mu.
func (s *Source) load(ctx context.Context, conn *pgx.Conn, oids []uint32) (out []*Table, err error) {
	if conn.PgConn().TxStatus() == 'I' {
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, tx.Rollback(context.WithoutCancel(ctx))) }()
	}
	rows, err := conn.Query(ctx, relationQuery, oids)
	if err != nil {
		return nil, err
	}
	var r relation
	var all []relation
	if _, err := pgx.ForEachRow(rows, []any{&r.root, &r.oid, &r.schema, &r.name, &r.kind, &r.persistence, &r.replident,
		&r.rowSecurity, &r.pages, &r.bytes, &r.rows, &r.filenode, &r.hasPrimaryKey, &r.hasIdentityUniq, &r.attached}, func() error {
		all = append(all, r)
		return nil
	}); err != nil {
		return nil, err
	}
	tables := make(map[uint32]*Table)
	for _, r := range all {
		if r.root == r.oid {
			t := &Table{OID: r.oid, Kind: kinds[r.kind], Identity: identities[r.replident], Rows: -1, RowSecurity: r.rowSecurity, queried: s.ByQuery,
				Schema: &batch.Schema{OID: r.oid, Table: batch.TableID{Database: s.Database, Schema: r.schema, Name: r.name}}}
			tables[r.oid] = t
			out = append(out, t)
		}
	}
	for _, r := range all {
		tables[r.root].add(r, s.Version)
	}
	if err := s.loadColumns(ctx, conn, tables); err != nil {
		return nil, err
	}
	return out, nil
}

var kinds = map[string]Kind{"r": OrdinaryTable, "p": PartitionedTable, "v": View, "m": MaterializedView, "f": ForeignTable}

var identities = map[string]ReplicaIdentity{"d": IdentityDefault, "i": IdentityIndex, "f": IdentityFull, "n": IdentityNothing}

// add counts one relation of the table's tree in.
func (t *Table) add(r relation, version int) {
	part := ""
	if r.oid != t.OID {
		part = fmt.Sprintf("partition %s.%s is ", r.schema, r.name)
	}
	switch {
	case t.Reason != "":
	case t.queried && r.persistence != "t":
		t.foreign = t.foreign || r.kind == "v" || r.kind == "f"
	case r.kind == "v", r.kind == "m", r.kind == "f":
		t.Reason = part + "a " + string(kinds[r.kind]) + ": its changes are not in the log"
	case r.persistence == "t":
		t.Reason = part + "a temporary table: its changes are not in the log"
	case r.persistence == "u":
		t.Reason = part + "an unlogged table: its changes are not in the log"
	case r.kind == "p" && version < partitionRootVersion:
		t.Reason = "a partitioned table: before PostgreSQL 13 only its partitions can be published"
	}
	usable := map[string]bool{"d": r.hasPrimaryKey, "i": r.hasIdentityUniq, "f": true}[r.replident]
	t.Keyless = t.Keyless || !usable
	t.notFull = t.notFull || r.replident != "f"
	if r.oid == t.OID {
		t.immediateKey = r.hasPrimaryKey
	}
	if r.kind != "r" && r.kind != "m" {
		return
	}
	t.Leaves = append(t.Leaves, Leaf{OID: r.oid, Schema: r.schema, Name: r.name, Pages: r.pages, Bytes: r.bytes, Filenode: r.filenode, Attached: r.attached})
	t.Pages += r.pages
	t.Bytes += r.bytes
	if r.rows >= 0 {
		t.Rows = max(t.Rows, 0) + r.rows
	}
}

// loadColumns fills in the schemas. Columns stand in the order of the
// relation messages: by attnum.
func (s *Source) loadColumns(ctx context.Context, conn *pgx.Conn, tables map[uint32]*Table) error {
	generated, keyColumns, missing := "a.attgenerated <> ''", "i.indnkeyatts", missingValue
	if s.SendsGenerated() {
		generated = "a.attgenerated = 'v'" // a stored one is like any other column
	}
	if s.Version < 120000 {
		generated, missing = "false", "CASE WHEN a.atthasmissing THEN a.attmissingval::text END"
	}
	if s.Version < 110000 {
		keyColumns, missing = "i.indnatts", "NULL::text"
	}
	query := strings.NewReplacer("{generated}", generated, "{keys}", keyColumns, "{missing}", missing).Replace(
		`SELECT a.attrelid, a.attnum::int, a.attname::text, a.atttypid, a.atttypmod, NOT a.attnotnull, {generated}, a.attisdropped, {missing}, a.xmin::text::bigint,
			coalesce((SELECT k.n FROM pg_catalog.pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
				WHERE i.indrelid = a.attrelid AND i.indisprimary AND k.attnum = a.attnum AND k.n <= {keys}), 0)::int,
			coalesce((SELECT k.n FROM pg_catalog.pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
				WHERE i.indrelid = a.attrelid AND i.indisreplident AND i.indisvalid AND k.attnum = a.attnum AND k.n <= {keys}), 0)::int
		FROM pg_catalog.pg_attribute a WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0
		ORDER BY a.attrelid, a.attnum`)
	oids := make([]uint32, 0, len(tables))
	for oid := range tables {
		oids = append(oids, oid)
	}
	rows, err := conn.Query(ctx, query, oids)
	if err != nil {
		return err
	}
	columns := make(map[uint32][]attribute)
	var c attribute
	if _, err := pgx.ForEachRow(rows, []any{&c.relation, &c.id, &c.name, &c.typeOID, &c.typmod, &c.nullable, &c.generated, &c.dropped, &c.missing, &c.written, &c.primary, &c.identity}, func() error {
		columns[c.relation] = append(columns[c.relation], c)
		return nil
	}); err != nil {
		return err
	}
	if !knowsAll(s.types, columns) {
		if s.types, err = loadTypes(ctx, conn); err != nil {
			return err
		}
	}
	for oid, t := range tables {
		t.setColumns(columns[oid], s.types)
	}
	return s.loadTypeForms(ctx, conn, tables)
}

// SendsGenerated says whether the log brings stored generated columns.
func (s *Source) SendsGenerated() bool {
	return s.Version >= generatedVersion && s.cfg.Decoder != TestDecoding
}

// missingValue is the value that rows older than the column have, as an array
// of one element. A partitioned table has it in its partitions.
const missingValue = `CASE WHEN a.atthasmissing THEN a.attmissingval::text ELSE (
	SELECT leaf.attmissingval::text FROM pg_catalog.pg_class c, pg_catalog.pg_partition_tree(c.oid) tree, pg_catalog.pg_attribute leaf
	WHERE c.oid = a.attrelid AND c.relkind = 'p' AND tree.isleaf AND leaf.attrelid = tree.relid AND leaf.attname = a.attname AND leaf.atthasmissing LIMIT 1) END`

// onlyElement takes the text of an array of one element apart.
func onlyElement(literal *string) *string {
	if literal == nil {
		return nil
	}
	text := strings.TrimSuffix(strings.TrimPrefix(*literal, "{"), "}")
	quoted, ok := strings.CutPrefix(text, `"`)
	if !ok {
		return &text
	}
	var out strings.Builder
	for i := 0; i < len(quoted)-1; i++ {
		if quoted[i] == '\\' {
			i++
		}
		out.WriteByte(quoted[i])
	}
	text = out.String()
	return &text
}

// attribute is a row of pg_attribute; primary and identity are its 1-based
// places in the primary key and in the replica identity's index.
type attribute struct {
	relation, typeOID            uint32
	id                           int
	name                         string
	typmod                       int32
	nullable, generated, dropped bool
	missing                      *string // as an array
	written                      int64   // xmin of the row
	primary, identity            int
}

// knowsAll is false once a column has a type that was created after the types
// were read.
func knowsAll(types *TypeMap, columns map[uint32][]attribute) bool {
	for _, list := range columns {
		for _, c := range list {
			if !c.dropped && !types.Has(c.typeOID) {
				return false
			}
		}
	}
	return true
}

// setColumns decides which columns travel and which of them are the key.
func (t *Table) setColumns(columns []attribute, types *TypeMap) {
	t.attributes = columns
	for _, c := range columns {
		t.hasPrimaryKey = t.hasPrimaryKey || c.primary > 0
	}
	wholeRow := t.Identity == IdentityFull && !t.immediateKey
	t.Keyless = t.Keyless || wholeRow && t.notFull
	for _, c := range columns {
		switch {
		case c.dropped:
			continue
		case c.generated && !t.queried:
			t.Skipped = append(t.Skipped, c.name)
			continue
		}
		col := types.Column(c.name, c.typeOID, c.typmod, c.nullable)
		col.ID, col.Missing = c.id, onlyElement(c.missing)
		switch {
		case t.queried && t.hasPrimaryKey:
			col.Key = c.primary
		case t.Identity == IdentityIndex:
			col.Key = c.identity
		case t.hasPrimaryKey && !wholeRow:
			col.Key = c.primary
		}
		t.Schema.Columns = append(t.Schema.Columns, col)
	}
}
