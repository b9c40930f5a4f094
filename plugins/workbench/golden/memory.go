package golden

import (
	"slices"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/wasm"
)

// Grants are what a plugin under test is given of what it asks for: spaces of
// its own in memory, the clock, random bytes, and no host that it may ask.
func Grants(m bundle.Manifest) (g wasm.Grants) {
	asks := func(name string) bool { return slices.Contains(m.Capabilities, name) }
	if asks("kv") {
		g.KV = capability.NewMemoryKV()
	}
	if asks("blob") {
		g.Blob = capability.NewMemoryFiles()
	}
	if asks("http") {
		g.HTTP, _ = capability.NewHTTP(capability.HTTPPolicy{}) // fails for hosts that cannot be read
	}
	g.Clock, g.Random = asks("clock"), asks("random")
	return g
}
