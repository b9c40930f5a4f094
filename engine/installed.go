package engine

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/install"
	"github.com/leat-etl/leat/plugins/wasm"
)

// What bundles are checked for is what this host runs.
var _ = [1]struct{}{}[wasm.ABI-bundle.ABI]

// findPlugin finds a plugin that a pipeline file names: a bundled one by name,
// one by its path, or the one that leat.lock pins for publisher/name@version.
// The warning is what the trust store says of it, empty for nothing.
func findPlugin(s *spec.Spec, ref string) (b *bundle.Bundle, warning string, err error) {
	defer func() {
		if err == nil || bundle.IsPath(ref) {
			return
		}
		if _, none := os.Stat(filepath.Join(s.Dir, ref)); none == nil {
			err = fmt.Errorf("%w; the path of the folder beside the pipeline file is written ./%s", err, ref)
		}
	}()
	if !bundle.IsRef(ref) {
		b, err = bundle.Resolve(ref, s.Dir)
		return b, "", err
	}
	store, err := install.DefaultStore()
	if err != nil {
		return nil, "", err
	}
	return install.Find(ref, s.Dir, s.Plugins.Trust, store)
}

// warn logs what the trust store says of the plugin.
func (p loadedPlugin) warn(log *slog.Logger) {
	if p.warning != "" {
		log.Warn(p.warning)
	}
}
