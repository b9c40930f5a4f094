package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/leat-etl/leat/plugins/bundle"
)

// licenceNames are the files of a folder that are taken for its licence.
var licenceNames = []string{"LICENSE", "LICENCE", "LICENSE.txt", "LICENCE.txt", "LICENSE.md", "LICENCE.md"}

// Pack makes the artifact of the plugin in a folder: its one module, its
// plugin.toml, and, where they are there, config.schema.json, README.md, a
// licence, conformance.json and the files of the folder tests that end in
// .toml or .json.
func Pack(dir string) (*Artifact, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	b, err := bundle.Resolve(dir, ".")
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	files := map[string][]byte{layerKinds[ModuleType].title: b.Module}
	for _, name := range []string{bundle.ManifestName, bundle.SchemaName, ReadmeName, ConformanceName} {
		if err := take(files, name, filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	if err := checkConformance(files[ConformanceName], b.Digest); err != nil {
		return nil, fmt.Errorf("pack %s: %s: %w", dir, ConformanceName, err)
	}
	for _, name := range licenceNames {
		if files[LicenceName] == nil {
			if err := take(files, LicenceName, filepath.Join(dir, name)); err != nil {
				return nil, err
			}
		}
	}
	tests, err := os.ReadDir(filepath.Join(dir, TestFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("pack %s: %w", dir, err)
	}
	for _, t := range tests {
		if ext := filepath.Ext(t.Name()); t.IsDir() || strings.HasPrefix(t.Name(), ".") || ext != ".toml" && ext != ".json" {
			continue
		}
		title := TestFolder + "/" + t.Name()
		if !isTestTitle(title) {
			return nil, fmt.Errorf("pack %s: the name of the test %q may have lower-case letters, digits, dots, hyphens and underscores only", dir, t.Name())
		}
		if err := take(files, title, filepath.Join(dir, TestFolder, t.Name())); err != nil {
			return nil, err
		}
	}
	a, err := Assemble(files)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", dir, err)
	}
	return a, nil
}

// checkConformance refuses a report that says nothing of the module beside it.
func checkConformance(report []byte, digest string) error {
	if report == nil {
		return nil
	}
	var r struct {
		Digest  string `json:"digest"`
		Score   *int   `json:"score"`
		Of      *int   `json:"of"`
		Partial bool   `json:"partial"`
	}
	const again = "leat plugin conformance --json makes the report anew"
	switch err := json.Unmarshal(report, &r); {
	case err != nil || r.Score == nil || r.Of == nil:
		return errors.New("it is no report of leat plugin conformance --json")
	case r.Digest != digest:
		return fmt.Errorf("it is of the module %s, the folder has %s: %s", r.Digest, digest, again)
	case r.Partial:
		return errors.New("it is of a part of the points: " + again + ", without --quick and --only")
	}
	return nil
}

// take reads a file of the folder if it is there. A link is followed: what is
// packed is what the author sees.
func take(files map[string][]byte, title, name string) error {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	if len(data) > 0 {
		files[title] = data
	}
	return nil
}
