package pdk

// ABI is the version of the plugin interface that this kit speaks.
const ABI = 1

// TableID names a table of one database.
type TableID struct {
	Database string `json:"database"`
	Schema   string `json:"schema"`
	Name     string `json:"name"`
}

// PGType is a column's type in PostgreSQL. Typmod is -1 where there is none;
// Kind is pg_type.typtype, or "a" for an array; Delimiter parts the elements in
// an array's text where that is no comma.
type PGType struct {
	Name      string `json:"name"`
	OID       uint32 `json:"oid"`
	Typmod    int32  `json:"typmod"`
	Kind      string `json:"kind,omitempty"`
	Delimiter string `json:"delimiter,omitempty"`
}

// Column describes one column. Format is an Arrow C Data Interface format
// string: one of the Format constants or a decimal ("d:12,2"). Key is the
// 1-based place in the row identity, 0 outside it.
type Column struct {
	Name     string `json:"name"`
	Format   string `json:"format"`
	PG       PGType `json:"pg_type"`
	Nullable bool   `json:"nullable"`
	Key      int    `json:"key,omitempty"`
	// ID is the number of the source's column: it stays when the column is
	// renamed or gets another type, and no later column of the table has it. 0
	// is unknown.
	ID int `json:"id,omitempty"`
	// Missing is the value of the rows that are older than the column, in
	// PostgreSQL's text form; nil is NULL. Destinations are told, transforms
	// are not.
	Missing *string `json:"missing,omitempty"`
}

// The formats of columns. Decimals are "d:precision,scale" up to 38 digits
// and "d:precision,scale,256" up to 76.
const (
	FormatBool        = "b"
	FormatInt16       = "s"
	FormatInt32       = "i"
	FormatInt64       = "l"
	FormatUint32      = "I"
	FormatFloat32     = "f"
	FormatFloat64     = "g"
	FormatText        = "u"
	FormatBinary      = "z"
	FormatDate        = "tdD"     // days since 1970
	FormatTime        = "ttu"     // microseconds since midnight
	FormatTimestamp   = "tsu:"    // microseconds since 1970, no zone
	FormatTimestampTZ = "tsu:UTC" // microseconds since 1970, UTC
	FormatUUID        = "w:16"
)

// Text is the type of columns that a plugin turns into text.
var Text = PGType{Name: "text", OID: 25, Typmod: -1, Kind: "b"}

// Varchar is the type of character varying without a length.
var Varchar = PGType{Name: "varchar", OID: 1043, Typmod: -1, Kind: "b"}

// Schema is the shape of one table.
type Schema struct {
	Table   TableID `json:"table"`
	Version uint64  `json:"version"`
	// OID is the relation's at the source: it stays when the table is renamed.
	OID     uint32   `json:"oid,omitempty"`
	Columns []Column `json:"columns"`
}

// Column returns the index of the column called name, -1 if there is none.
func (s *Schema) Column(name string) int {
	for i := range s.Columns {
		if s.Columns[i].Name == name {
			return i
		}
	}
	return -1
}

// Key returns the indexes of the identity columns in key order, empty for a
// table without identity.
func (s *Schema) Key() []int {
	var key []int
	for place := 1; ; place++ {
		found := false
		for i := range s.Columns {
			if s.Columns[i].Key == place {
				key, found = append(key, i), true
				break
			}
		}
		if !found {
			return key
		}
	}
}

// Width is the bytes of a value of a format: 0 for booleans, -1 for text and
// binary, -2 for a format that a batch cannot contain.
func Width(format string) int {
	switch format {
	case FormatBool:
		return 0
	case FormatText, FormatBinary:
		return -1
	case FormatInt16:
		return 2
	case FormatInt32, FormatUint32, FormatFloat32, FormatDate:
		return 4
	case FormatInt64, FormatFloat64, FormatTime, FormatTimestamp, FormatTimestampTZ:
		return 8
	case FormatUUID:
		return 16
	}
	if len(format) > 2 && format[:2] == "d:" {
		if len(format) > 4 && format[len(format)-4:] == ",256" {
			return 32
		}
		return 16
	}
	return -2
}
