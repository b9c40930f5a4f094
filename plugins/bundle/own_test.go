package bundle

import (
	"os"
	"path/filepath"
	"testing"
)

// TestOwnManifests reads the manifests of the plugins of this repository.
func TestOwnManifests(t *testing.T) {
	transforms, err := filepath.Glob("../../transforms/*/" + ManifestName)
	if err != nil {
		t.Fatal(err)
	}
	destinations, err := filepath.Glob("../destinations/*/" + ManifestName)
	if err != nil {
		t.Fatal(err)
	}
	if len(transforms) == 0 {
		t.Fatal("no plugin was found")
	}
	for _, file := range append(transforms, destinations...) {
		dir := filepath.Dir(file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		schema, err := os.ReadFile(filepath.Join(dir, SchemaName))
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseManifest(file, text, schema)
		if err != nil {
			t.Error(err)
		} else if m.Name != filepath.Base(dir) {
			t.Errorf("%s names the plugin %q", file, m.Name)
		}
	}
}
