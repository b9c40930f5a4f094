package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

// DocumentType is the artifact type, and the media type of the one layer, of a
// catalogue in a registry.
const DocumentType = "application/vnd.leat.catalogue.v1+json"

// maxDocument bounds a document that is pulled.
const maxDocument = 32 << 20

// Document is a single file as an OCI artifact.
type Document struct {
	Data []byte
	// Digest is that of the OCI manifest: what a signature is about.
	Digest     string
	Signatures [][]byte

	manifest []byte
}

// NewDocument makes the artifact of a file.
func NewDocument(data []byte) (Document, error) {
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: DocumentType,
		Config: ocispec.Descriptor{MediaType: emptyConfig.MediaType, Digest: emptyConfig.Digest, Size: emptyConfig.Size},
		Layers: []ocispec.Descriptor{describe(DocumentType, data)},
	})
	if err != nil {
		return Document{}, fmt.Errorf("encode manifest: %w", err)
	}
	return Document{Data: data, Digest: string(digest.FromBytes(manifest)), manifest: manifest}, nil
}

// PushDocument stores a document under a tag, in the place of what is there.
func (r Registry) PushDocument(ctx context.Context, d Document, to Address) error {
	repo, err := r.repository(to.Repository)
	if err != nil {
		return err
	}
	err = r.within(ctx, func(ctx context.Context) error {
		for _, blob := range [][]byte{d.Data, emptyConfig.Data} {
			if err := pushBlob(ctx, repo, describe("application/octet-stream", blob), blob); err != nil {
				return err
			}
		}
		desc := describe(ocispec.MediaTypeImageManifest, d.manifest)
		if err := repo.PushReference(ctx, desc, bytes.NewReader(d.manifest), to.Tag); err != nil {
			return err
		}
		return pushSignatures(ctx, repo, desc, d.Signatures)
	})
	if err != nil {
		return fmt.Errorf("push %s: %w", to, err)
	}
	return nil
}

// PullDocument fetches a document and its signatures.
func (r Registry) PullDocument(ctx context.Context, from Address) (d Document, err error) {
	repo, err := r.repository(from.Repository)
	if err != nil {
		return Document{}, err
	}
	err = r.within(ctx, func(ctx context.Context) error {
		d, err = pullDocument(ctx, repo, from)
		return err
	})
	if err != nil {
		return Document{}, fmt.Errorf("pull %s: %w", from, err)
	}
	return d, nil
}

func pullDocument(ctx context.Context, repo *remote.Repository, from Address) (Document, error) {
	manifest, err := pullManifest(ctx, repo, from)
	if err != nil {
		return Document{}, err
	}
	var m ocispec.Manifest
	if err := strictJSON(manifest, &m); err != nil {
		return Document{}, fmt.Errorf("read OCI manifest: %w", err)
	}
	if m.ArtifactType != DocumentType || len(m.Layers) != 1 || m.Layers[0].MediaType != DocumentType {
		return Document{}, fmt.Errorf("it is not a catalogue: its type is %q", m.ArtifactType)
	}
	if size := m.Layers[0].Size; size < 0 || size > maxDocument {
		return Document{}, fmt.Errorf("it has %d bytes, more than the %d that are allowed", size, maxDocument)
	}
	get := func(d ocispec.Descriptor) ([]byte, error) { return read(ctx, repo.Blobs(), d) }
	a := &Artifact{Digest: digest.FromBytes(manifest), manifest: manifest, blobs: map[digest.Digest][]byte{}}
	data, err := a.read(m.Layers[0], get)
	if err != nil {
		return Document{}, err
	}
	err = pullSignatures(ctx, repo, a)
	return Document{Data: data, Digest: string(a.Digest), Signatures: a.Signatures, manifest: manifest}, err
}
