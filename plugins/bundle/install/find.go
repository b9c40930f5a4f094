package install

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/lock"
	"github.com/leat-etl/leat/plugins/bundle/oci"
	"github.com/leat-etl/leat/plugins/bundle/trust"
)

// Find returns the plugin that the lock file of a folder pins for a ref,
// publisher/name or publisher/name@version, and a warning where the trust
// store has one. It refuses a plugin that is not pinned, not installed, or
// differs from its pin in anything: content, name, module or capabilities.
// trustPath is empty for the user's own trust store.
func Find(ref, dir, trustPath string, store Store) (b *bundle.Bundle, warning string, err error) {
	r, err := bundle.ParseRef(ref)
	if err != nil {
		return nil, "", err
	}
	pins, err := lock.Load(dir)
	if err != nil {
		return nil, "", err
	}
	pin, err := pins.Find(r)
	if err != nil {
		return nil, "", fmt.Errorf("plugin %s: %w", ref, err)
	}
	a, err := store.Get(pin.Digest)
	if errors.Is(err, ErrNotInstalled) {
		return nil, "", fmt.Errorf("plugin %s: %w: run leat plugin install --dir %s", pin.Plugin, err, strconv.Quote(dir))
	}
	if err != nil {
		return nil, "", fmt.Errorf("plugin %s: %w; leat plugin install --dir %s brings it again", pin.Plugin, err, strconv.Quote(dir))
	}
	if err := matches(a, pin, pins.Path()); err != nil {
		return nil, "", err
	}
	keys, err := trust.Load(trustPath)
	if err != nil {
		return nil, "", err
	}
	v, err := keys.Check(subject(a, true), time.Now())
	return a.Bundle, v.Warning, err
}

// matches holds a bundle against its pin.
func matches(a *oci.Artifact, pin lock.Entry, path string) error {
	if a.Ref() != pin.Ref() {
		return fmt.Errorf("plugin %s: %s pins %s for it, which is %s: remove the entry and install the plugin again", pin.Plugin, path, pin.Digest, a.Ref())
	}
	if a.Bundle.Digest != pin.Module {
		return fmt.Errorf("plugin %s: %s pins the module %s, its bundle holds %s: remove the entry and install the plugin again", pin.Plugin, path, pin.Module, a.Bundle.Digest)
	}
	for _, c := range a.Bundle.Manifest.Grants() {
		if !slices.Contains(pin.Capabilities, c) {
			return fmt.Errorf("plugin %s asks for %s, %s grants it %s: to let it %s, run leat plugin install --grant %s %s",
				pin.Plugin, bundle.Words(a.Bundle.Manifest.Grants()), path, bundle.Words(pin.Capabilities), bundle.Explain(c), c, pin.Plugin)
		}
	}
	return nil
}

func subject(a *oci.Artifact, pinned bool) trust.Subject {
	return trust.Subject{What: "plugin " + a.Ref().String(), Publisher: a.Bundle.Manifest.Publisher, Digest: string(a.Digest), Signatures: a.Signatures, Pinned: pinned}
}
