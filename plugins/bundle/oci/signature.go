package oci

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// referrer is the OCI manifest that attaches one signature to an artifact, as
// cosign writes it.
type referrer struct {
	desc     ocispec.Descriptor
	manifest []byte
}

var emptyConfig = ocispec.DescriptorEmptyJSON

// newReferrer makes the OCI manifest of a signature. It has no time in it, so
// that one signature gives one manifest.
func newReferrer(subject ocispec.Descriptor, signature []byte) (referrer, error) {
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: SignatureType,
		Config:  ocispec.Descriptor{MediaType: emptyConfig.MediaType, Digest: emptyConfig.Digest, Size: emptyConfig.Size},
		Layers:  []ocispec.Descriptor{describe(SignatureType, signature)},
		Subject: &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations: map[string]string{
			"dev.sigstore.bundle.content":       "dsse-envelope",
			"dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
		},
	})
	if err != nil {
		return referrer{}, fmt.Errorf("encode signature manifest: %w", err)
	}
	d := describe(ocispec.MediaTypeImageManifest, manifest)
	d.ArtifactType = SignatureType
	return referrer{d, manifest}, nil
}

// decodeReferrer returns the signature that an OCI manifest attaches to
// subject, nil if it attaches something else.
func decodeReferrer(manifest []byte, subject digest.Digest, get fetch) ([]byte, error) {
	var m ocispec.Manifest
	if err := strictJSON(manifest, &m); err != nil {
		return nil, fmt.Errorf("read signature manifest: %w", err)
	}
	if m.ArtifactType != SignatureType {
		return nil, nil
	}
	if m.Subject == nil || m.Subject.Digest != subject {
		return nil, fmt.Errorf("a signature is attached to another artifact than %s", subject)
	}
	if len(m.Layers) != 1 || m.Layers[0].MediaType != SignatureType || m.Layers[0].Size > maxSignature || m.Layers[0].Size < 0 {
		return nil, fmt.Errorf("a signature manifest wants one layer of type %s and at most %d bytes", SignatureType, maxSignature)
	}
	probe := Artifact{blobs: map[digest.Digest][]byte{}}
	signature, err := probe.read(m.Layers[0], get)
	if err != nil {
		return nil, fmt.Errorf("read signature: %w", err)
	}
	return bytes.Clone(signature), nil
}

// isReferrer says whether an OCI manifest is about another one.
func isReferrer(manifest []byte) bool {
	var m struct {
		Subject *json.RawMessage `json:"subject"`
	}
	return json.Unmarshal(manifest, &m) == nil && m.Subject != nil
}

// descriptor is that of the artifact's OCI manifest.
func (a *Artifact) descriptor() ocispec.Descriptor {
	return describe(ocispec.MediaTypeImageManifest, a.manifest)
}
