//go:build !wasm

package pdk

import "embed"

// Source is the kit itself: leat plugin new writes it beside a plugin, so that
// nothing has to be fetched.
//
//go:embed *.go go.mod
var Source embed.FS
