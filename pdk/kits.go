// Package pdk holds the plugin kits, so that the program can write them beside
// a plugin. A guest does not import it: the kit for Go is package pdk/go.
package pdk

import (
	"embed"
	"fmt"
	"io/fs"

	kit "github.com/leat-etl/leat/pdk/go"
)

//go:embed c/*.h rust/Cargo.toml rust/src/*.rs typescript/assembly/*.ts
var kits embed.FS

// Kit is the files of a language's kit: go, rust, c or typescript.
func Kit(language string) (fs.FS, error) {
	switch language {
	case "go":
		return kit.Source, nil
	case "c", "rust", "typescript":
		return fs.Sub(kits, language)
	}
	return nil, fmt.Errorf("there is no kit for %q: there are go, rust, c and typescript", language)
}
