package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/leat-etl/leat/plugins/bundle"
)

// fetch returns a blob by its descriptor, which has been checked for size. The
// blob itself is held against the descriptor by its caller.
type fetch func(ocispec.Descriptor) ([]byte, error)

var testTitle = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}\.(toml|json)$`)

func isTestTitle(title string) bool {
	name, found := strings.CutPrefix(title, TestFolder+"/")
	return found && testTitle.MatchString(name)
}

// decode checks an OCI manifest and everything below it.
func decode(manifest []byte, get fetch) (*Artifact, error) {
	a := &Artifact{Digest: digest.FromBytes(manifest), Files: map[string][]byte{}, manifest: manifest, blobs: map[digest.Digest][]byte{}}
	var m ocispec.Manifest
	if err := strictJSON(manifest, &m); err != nil {
		return nil, fmt.Errorf("read OCI manifest: %w", err)
	}
	if m.Config.MediaType != ConfigType {
		return nil, fmt.Errorf("%w: its config is of type %q, expected %s", errNotLeat, m.Config.MediaType, ConfigType)
	}
	if m.SchemaVersion != 2 || m.MediaType != "" && m.MediaType != ocispec.MediaTypeImageManifest || m.Subject != nil {
		return nil, fmt.Errorf("%w: its OCI manifest is of another form", errNotLeat)
	}
	if err := a.checkLayers(m); err != nil {
		return nil, err
	}
	if err := a.readConfig(m, get); err != nil {
		return nil, err
	}
	for _, d := range m.Layers {
		data, err := a.read(d, get)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", d.Annotations[ocispec.AnnotationTitle], err)
		}
		a.Files[d.Annotations[ocispec.AnnotationTitle]] = data
	}
	return a, a.open(m)
}

// checkLayers refuses a list of layers before anything of them is read.
func (a *Artifact) checkLayers(m ocispec.Manifest) error {
	titles := map[string]bool{}
	tests, total := 0, m.Config.Size
	for i, d := range m.Layers {
		kind, known := layerKinds[d.MediaType]
		title := d.Annotations[ocispec.AnnotationTitle]
		switch {
		case !known:
			return fmt.Errorf("layer %d is of the unknown media type %q: a bundle's layers are %s", i, d.MediaType, strings.Join(layerOrder, ", "))
		case d.MediaType == TestType && !isTestTitle(title):
			return fmt.Errorf("layer %d is a test with the name %q: a test is named %s/NAME.toml or .json, in lower-case letters, digits, dots, hyphens and underscores", i, title, TestFolder)
		case kind.title != "" && title != kind.title:
			return fmt.Errorf("layer %d of type %s is named %q, expected %q", i, d.MediaType, title, kind.title)
		case titles[title]:
			return fmt.Errorf("layer %d: there are two files %q", i, title)
		case d.Size > kind.limit || d.Size < 0:
			return fmt.Errorf("%s has %d bytes, more than the %d that are allowed", title, d.Size, kind.limit)
		}
		titles[title] = true
		if total += d.Size; total > maxTotal {
			return fmt.Errorf("the layers have more than the %d bytes that are allowed together", int64(maxTotal))
		}
		if d.MediaType == TestType {
			tests++
		}
	}
	if tests > maxTests {
		return fmt.Errorf("there are %d tests, more than the %d that are allowed", tests, maxTests)
	}
	for _, mediaType := range layerOrder {
		if kind := layerKinds[mediaType]; kind.required && !titles[kind.title] {
			return fmt.Errorf("%s is missing: no layer is of type %s", kind.title, mediaType)
		}
	}
	return nil
}

func (a *Artifact) readConfig(m ocispec.Manifest, get fetch) error {
	if m.Config.Size > maxManifest {
		return fmt.Errorf("config has %d bytes, more than the %d that are allowed", m.Config.Size, maxManifest)
	}
	data, err := a.read(m.Config, get)
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	var c wasmConfig
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	if c.Architecture != "wasm" || c.OS != "wasip1" {
		return fmt.Errorf("config is for %s/%s: a Leat plugin is a core module, wasm/wasip1", c.Architecture, c.OS)
	}
	digests := make([]digest.Digest, len(m.Layers))
	for i, d := range m.Layers {
		digests[i] = d.Digest
	}
	if !slices.Equal(c.LayerDigests, digests) {
		return errors.New("config names other layers than the OCI manifest")
	}
	return nil
}

// read fetches a blob and holds it against its descriptor.
func (a *Artifact) read(d ocispec.Descriptor, get fetch) ([]byte, error) {
	if err := checkDigest(d.Digest); err != nil {
		return nil, err
	}
	data, err := get(d)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != d.Size {
		return nil, fmt.Errorf("blob %s has %d bytes, its descriptor says %d", d.Digest, len(data), d.Size)
	}
	if got := digest.FromBytes(data); got != d.Digest {
		return nil, fmt.Errorf("blob has the digest %s, its descriptor says %s", got, d.Digest)
	}
	a.blobs[d.Digest] = data
	return data, nil
}

// open checks what the layers say together.
func (a *Artifact) open(m ocispec.Manifest) error {
	var schema []byte
	if s, ok := a.Files[bundle.SchemaName]; ok {
		schema = s
	}
	plugin, err := bundle.ParseManifest(bundle.ManifestName, a.Files[bundle.ManifestName], schema)
	if err != nil {
		return err
	}
	if plugin.Publisher == "" {
		return fmt.Errorf("%s: key \"publisher\" is missing: a plugin that is shared says who publishes it, for example publisher = \"acme\"", bundle.ManifestName)
	}
	for key, want := range map[string]string{ocispec.AnnotationTitle: plugin.Ref().ID(), ocispec.AnnotationVersion: plugin.Version} {
		if got, ok := m.Annotations[key]; ok && got != want {
			return fmt.Errorf("annotation %s says %q, %s says %q", key, got, bundle.ManifestName, want)
		}
	}
	module := a.Files[layerKinds[ModuleType].title]
	if err := bundle.CheckModule(plugin, module); err != nil {
		return err
	}
	delete(a.Files, layerKinds[ModuleType].title)
	a.Bundle = &bundle.Bundle{Manifest: plugin, Module: module}
	for _, d := range m.Layers {
		if d.MediaType == ModuleType {
			a.Bundle.Digest = string(d.Digest) // read has held the module against it
		}
	}
	return nil
}

// checkDigest allows sha256 only: one algorithm, one name for a blob.
func checkDigest(d digest.Digest) error {
	if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %q is not of the form sha256:<64 hexadecimal digits>", string(d))
	}
	return nil
}

// strictJSON refuses what follows the value, and names that differ in case
// only from those that mean something: another reader may take the other one.
func strictJSON(data []byte, into any) error {
	if len(data) > maxManifest {
		return fmt.Errorf("%d bytes, more than the %d that are allowed", len(data), maxManifest)
	}
	if err := uniqueKeys(data); err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// uniqueKeys refuses JSON in which an object has a key twice, in any case of
// letters: readers differ on which of the two counts.
func uniqueKeys(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := uniqueValue(d, 0); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

func uniqueValue(d *json.Decoder, depth int) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth > 32 {
		return errors.New("JSON is nested too deeply")
	}
	keys := map[string]bool{}
	for d.More() {
		if open == '{' {
			token, err := d.Token()
			if err != nil {
				return err
			}
			key, _ := token.(string)
			if keys[strings.ToLower(key)] {
				return fmt.Errorf("the key %q is there twice", key)
			}
			keys[strings.ToLower(key)] = true
		}
		if err := uniqueValue(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
