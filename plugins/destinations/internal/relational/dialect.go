package relational

import (
	"hash/fnv"
	"strconv"
	"strings"
	"unicode/utf8"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// Dialect is what a database does its own way.
type Dialect struct {
	// Driver is the host's name of the driver.
	Driver string
	// MainSchema is where tables of the source's schema public go by default.
	MainSchema string
	// Text, Timestamp and Boolean are the types of the columns that Leat adds.
	Text, Timestamp, Boolean string
	// FoldsCase says that names which differ only in case are one name.
	FoldsCase bool
	// PhysicalKey says that tables get a primary key, rows are replaced by ON
	// CONFLICT and a failed insert is taken back to a savepoint; otherwise
	// replaced rows are deleted and inserted.
	PhysicalKey bool
	// NowDefault says that a column may have the current time as its default.
	// DuckDB cannot replay its log after a crash when a table with such a
	// default was altered: the file is lost. There the time is written with
	// each row.
	NowDefault bool
	// SeparateDDL says that tables are changed in transactions of their own,
	// between two checkpoints of the database, and never together with rows:
	// DuckDB cannot replay its log of every transaction that does both, and a
	// crash would lose the file. A change without the rows that asked for it
	// does no harm: no values go, and rows of an earlier version find their
	// columns by ID.
	SeparateDDL bool
	// StageSchema qualifies the temporary stage.
	StageSchema string
	// Type maps a column of the source.
	Type func(pdk.Column) Mapping
	// Widens says that every value of type from is one of type to, and that
	// the database can alter a column so.
	Widens func(from, to string) bool
	// Value writes a value, given in PostgreSQL's text form, as SQL of a type;
	// empty where the database has no form for it.
	Value func(text, typ string) string
	// Names is the query for the tables and views: "schema" and "name". A schema
	// itself has an empty name.
	Names string
	// Columns is the query for the columns of a table that is there: name and
	// type.
	Columns func(schema, table string) string
	// Key is the query for the primary key of a table, for its unique indexes
	// whose name begins with prefix and for its columns that take no NULL: "p",
	// "i" or "n", name, column, whether it is partial, in order of name and
	// place. Nil without PhysicalKey.
	Key func(schema, table, prefix string) string
	// EqualNulls is the query that has a row if a unique index can take NULL for
	// a value. Empty without PhysicalKey.
	EqualNulls string
	// RowID is the column that the database itself tells rows apart by, and
	// RowIDType its type. RowIDHidden says that a column of the table's own of
	// that name would hide it.
	RowID, RowIDType string
	RowIDHidden      bool
	// WholeRow joins cells into a value that is equal for equal rows, NULL and
	// types without an equality operator included.
	WholeRow func(cells []string) string
}

// Mapping is the type that a column gets.
type Mapping struct {
	Type string
	// Losses are for people, Lossy for the driver.
	Losses []string
	Lossy  []string
}

// maxName is PostgreSQL's limit of a name in bytes, kept everywhere.
const maxName = 63

// Name fits a name into the limit. A shortened name ends with a hash of the
// whole, so that two names never become one.
func Name(name string) string {
	if len(name) <= maxName {
		return name
	}
	cut := maxName - 9
	for !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + "_" + digest(name)
}

// digest is eight hexadecimal digits of a name.
func digest(name string) string {
	h := fnv.New32a()
	h.Write([]byte(name))
	text := strconv.FormatUint(uint64(h.Sum32()), 16)
	return strings.Repeat("0", 8-len(text)) + text
}

// Quote writes a name as an SQL identifier.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Literal writes text as an SQL string.
func Literal(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }

// fold is the form under which two names are one.
func (d *Dialect) fold(name string) string {
	if d.FoldsCase {
		return strings.ToLower(name)
	}
	return name
}

// schema is where a table of the source's schema goes.
func (d *Dialect) schema(source, configured string) string {
	if source == "public" || source == "" {
		return configured
	}
	name := Name(source)
	if d.fold(name) == d.fold(configured) {
		return Name(source + "_" + digest(source)) // it is not public's
	}
	return name
}

// names gives each column of a table its name: one that would collide gets a
// hash.
func (d *Dialect) names(columns []pdk.Column) []string {
	taken := map[string]bool{d.fold(d.RowID): d.RowIDHidden}
	out := make([]string, len(columns))
	for i, c := range columns {
		name := Name(c.Name)
		for round := ""; taken[d.fold(name)]; round += "+" {
			name = Name(c.Name + "_" + digest(c.Name+round))
		}
		taken[d.fold(name)] = true
		out[i] = name
	}
	return out
}
