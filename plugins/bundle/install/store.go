package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/leat-etl/leat/plugins/bundle/oci"
)

// Store is a folder of bundles, each in a file that is named by the digest of
// its artifact. Several processes may use one store.
type Store struct{ Dir string }

// DefaultStore is that of the user: $XDG_DATA_HOME/leat/plugins, by default
// below ~/.local/share.
func DefaultStore() (Store, error) {
	data := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(data) {
		home, err := os.UserHomeDir()
		if err != nil {
			return Store{}, fmt.Errorf("find the folder of installed plugins: %w", err)
		}
		data = filepath.Join(home, ".local", "share")
	}
	return Store{filepath.Join(data, "leat", "plugins")}, nil
}

func (s Store) path(digest string) string {
	return filepath.Join(s.Dir, "sha256", strings.TrimPrefix(digest, "sha256:")+".leat")
}

// ErrNotInstalled says that a store does not have a bundle.
var ErrNotInstalled = errors.New("it is not installed on this machine")

// Get returns the bundle with a digest, all of it checked again.
func (s Store) Get(digest string) (*oci.Artifact, error) {
	path := s.path(digest)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotInstalled
	}
	a, err := oci.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if string(a.Digest) != digest {
		return nil, fmt.Errorf("bundle %s holds %s: somebody has changed it; remove it and install the plugin again", path, a.Digest)
	}
	return a, nil
}

// Put stores a bundle. Signatures that the store has of it already are kept.
func (s Store) Put(a *oci.Artifact) error {
	path := s.path(string(a.Digest))
	if before, err := s.Get(string(a.Digest)); err == nil {
		n := len(before.Signatures)
		for _, signature := range a.Signatures {
			before.Attach(signature)
		}
		if len(before.Signatures) == n {
			return nil
		}
		a = before
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("store bundle: %w", err)
	}
	return a.WriteFile(path)
}

// List returns the digests of the bundles that the store has.
func (s Store) List() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(s.Dir, "sha256", "*.leat"))
	if err != nil {
		return nil, fmt.Errorf("list installed plugins: %w", err)
	}
	for i, f := range files {
		files[i] = "sha256:" + strings.TrimSuffix(filepath.Base(f), ".leat")
	}
	return files, nil
}
