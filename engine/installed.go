package engine

import (
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/install"
	"github.com/leat-etl/leat/plugins/wasm"
)

// What bundles are checked for is what this host runs.
var _ = [1]struct{}{}[wasm.ABI-bundle.ABI]

// findPlugin finds a plugin that a pipeline file names: a bundled one by name,
// one by its path, or the one that leat.lock pins for publisher/name@version.
func findPlugin(s *spec.Spec, ref string) (*bundle.Bundle, error) {
	if !bundle.IsRef(ref) {
		return bundle.Resolve(ref, s.Dir)
	}
	store, err := install.DefaultStore()
	if err != nil {
		return nil, err
	}
	b, warning, err := install.Find(ref, s.Dir, s.Plugins.Trust, store)
	if warning != "" {
		s.Warnings = append(s.Warnings, warning)
	}
	return b, err
}
