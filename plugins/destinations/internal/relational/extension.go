package relational

import (
	"strings"

	pdk "github.com/leat-etl/leat/pdk/go"
)

// Extension says that a column may get a type of its own for the extension's
// base type called name, in whatever schema that is. A column of the key may
// not: the log tells rows apart by the bytes of their keys, and so must the
// destination, whatever the type takes for equal.
func Extension(c pdk.Column, name string) bool {
	_, unqualified, qualified := strings.Cut(c.PG.Name, ".")
	return qualified && unqualified == name && c.PG.Kind == "b" && c.Key == 0
}
