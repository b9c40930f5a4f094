package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/leat-etl/leat/plugins/bundle"
)

// Media types of an artifact. The first two are those of the CNCF's layout for
// WebAssembly.
const (
	ConfigType      = "application/vnd.wasm.config.v0+json"
	ModuleType      = "application/wasm"
	ManifestType    = "application/vnd.leat.plugin.manifest.v1+toml"
	SchemaType      = "application/vnd.leat.plugin.config-schema.v1+json"
	TestType        = "application/vnd.leat.plugin.test.v1"
	ConformanceType = "application/vnd.leat.plugin.conformance.v1+json"
	ReadmeType      = "text/markdown"
	LicenceType     = "text/plain"
	// SignatureType is both the artifact type of a signature and the media
	// type of its one layer.
	SignatureType = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

// Names of the files of a bundle, the titles of its layers. Tests are titled
// tests/NAME.
const (
	ReadmeName      = "README.md"
	LicenceName     = "LICENSE"
	ConformanceName = "conformance.json"
	TestFolder      = "tests"
)

// Artifact is a bundle that has been checked, or has just been packed.
type Artifact struct {
	// Bundle is the plugin itself. Its Digest is that of the module.
	Bundle *bundle.Bundle
	// Digest names the whole artifact: that of its OCI manifest.
	Digest digest.Digest
	// Files are the other files, by their titles.
	Files map[string][]byte
	// Signatures are Sigstore bundles that were found with the artifact and
	// are about it, none of them verified.
	Signatures [][]byte

	manifest []byte
	blobs    map[digest.Digest][]byte // config and layers
}

// Ref names the plugin.
func (a *Artifact) Ref() bundle.Ref { return a.Bundle.Manifest.Ref() }

// Size is the number of bytes of all blobs, signatures not counted.
func (a *Artifact) Size() int64 {
	n := int64(len(a.manifest))
	for _, b := range a.blobs {
		n += int64(len(b))
	}
	return n
}

// Attach adds a signature. One that is there already is not added again.
func (a *Artifact) Attach(signature []byte) {
	if !slices.ContainsFunc(a.Signatures, func(s []byte) bool { return bytes.Equal(s, signature) }) {
		a.Signatures = append(a.Signatures, signature)
	}
}

// layerKind says which layers of a media type there may be.
type layerKind struct {
	title    string // the only title, empty for tests
	required bool
	limit    int64
}

var layerKinds = map[string]layerKind{
	ModuleType:      {"plugin.wasm", true, 64 << 20},
	ManifestType:    {bundle.ManifestName, true, 64 << 10},
	SchemaType:      {bundle.SchemaName, false, 1 << 20},
	ReadmeType:      {ReadmeName, false, 1 << 20},
	LicenceType:     {LicenceName, false, 1 << 20},
	ConformanceType: {ConformanceName, false, 1 << 20},
	TestType:        {"", false, 4 << 20},
}

// layerOrder is the order in which layers are packed.
var layerOrder = []string{ModuleType, ManifestType, SchemaType, ReadmeType, LicenceType, ConformanceType, TestType}

// MaxFile bounds the file of a bundle.
const MaxFile = maxTotal + maxManifest

// Other limits on what is read.
const (
	maxManifest   = 1 << 20
	maxSignature  = 256 << 10
	maxSignatures = 32
	maxTests      = 200
	maxTotal      = 128 << 20
)

// wasmConfig is the config of the CNCF's layout. created is left at the epoch,
// so that one input gives one artifact.
type wasmConfig struct {
	Created      string          `json:"created"`
	Architecture string          `json:"architecture"`
	OS           string          `json:"os"`
	LayerDigests []digest.Digest `json:"layerDigests"`
}

const epoch = "1970-01-01T00:00:00Z"

// Assemble makes the artifact of a plugin from its files, by title.
func Assemble(files map[string][]byte) (*Artifact, error) {
	blobs := map[digest.Digest][]byte{}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	var digests []digest.Digest
	for _, mediaType := range layerOrder {
		for _, title := range slices.Sorted(maps.Keys(files)) {
			if typeOf(title) != mediaType {
				continue
			}
			d := describe(mediaType, files[title])
			d.Annotations = map[string]string{ocispec.AnnotationTitle: title}
			blobs[d.Digest] = files[title]
			m.Layers = append(m.Layers, d)
			digests = append(digests, d.Digest)
		}
	}
	if len(m.Layers) != len(files) {
		return nil, fmt.Errorf("pack: a file that no bundle has is among %q", slices.Sorted(maps.Keys(files)))
	}
	config, err := json.Marshal(wasmConfig{epoch, "wasm", "wasip1", digests})
	if err != nil {
		return nil, fmt.Errorf("encode config: %w", err)
	}
	m.Config = describe(ConfigType, config)
	blobs[m.Config.Digest] = config
	plugin, err := bundle.ParseManifest(bundle.ManifestName, files[bundle.ManifestName], files[bundle.SchemaName])
	if err != nil {
		return nil, err
	}
	m.Annotations = annotations(plugin)
	manifest, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return decode(manifest, func(d ocispec.Descriptor) ([]byte, error) { return blobs[d.Digest], nil })
}

// annotations are for people who look at a registry; nothing is read from
// them but that they agree with the manifest of the plugin.
func annotations(m bundle.Manifest) map[string]string {
	return map[string]string{
		ocispec.AnnotationTitle: m.Ref().ID(), ocispec.AnnotationVersion: m.Version,
		ocispec.AnnotationDescription: m.Description, ocispec.AnnotationLicenses: m.Licence, ocispec.AnnotationVendor: m.Publisher,
	}
}

func typeOf(title string) string {
	for mediaType, kind := range layerKinds {
		if kind.title == title {
			return mediaType
		}
	}
	if isTestTitle(title) {
		return TestType
	}
	return ""
}

func describe(mediaType string, data []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// errNotLeat is for artifacts that are of another kind altogether.
var errNotLeat = errors.New("it is not a Leat plugin")
