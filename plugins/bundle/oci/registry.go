package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/leat-etl/leat/plugins/bundle"
)

// Registry is how registries are spoken to.
type Registry struct {
	// Timeout bounds one operation as a whole, such as a pull; zero is
	// DefaultTimeout.
	Timeout time.Duration
	// PlainHTTP allows registries without TLS. Those on this machine are
	// always reached without.
	PlainHTTP bool
}

// DefaultTimeout is how long a registry may take for one operation.
const DefaultTimeout = 2 * time.Minute

// stall is the longest that a registry may take to begin its answer.
const stall = 30 * time.Second

// maxReferrers bounds what may be attached to an artifact, signatures or not.
const maxReferrers = 200

// maxPages bounds the lists that a registry may go on with.
const maxPages = 100

// Address is a place in a registry: host/repository, with the tag or the
// digest of one artifact where one is meant.
type Address struct{ Repository, Tag, Digest string }

// ParseAddress reads host/path, host/path:tag or host/path@sha256:...
func ParseAddress(s string) (Address, error) {
	s = strings.TrimPrefix(s, "oci://")
	ref, err := registry.ParseReference(s)
	if err != nil {
		return Address{}, fmt.Errorf("registry address %q: want host/repository:version or host/repository@sha256:...", s)
	}
	a := Address{Repository: ref.Registry + "/" + ref.Repository}
	if d, err := ref.Digest(); err == nil {
		if err := checkDigest(d); err != nil {
			return Address{}, fmt.Errorf("registry address %q: %w", s, err)
		}
		a.Digest = string(d)
	} else {
		a.Tag = ref.Reference
	}
	return a, nil
}

// String writes the address as ParseAddress reads it.
func (a Address) String() string {
	switch {
	case a.Digest != "":
		return a.Repository + "@" + a.Digest
	case a.Tag != "":
		return a.Repository + ":" + a.Tag
	}
	return a.Repository
}

// repository opens a repository with the credentials that docker, podman or
// oras login have stored.
func (r Registry) repository(name string) (*remote.Repository, error) {
	repo, err := remote.NewRepository(name)
	if err != nil {
		return nil, err
	}
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("read registry credentials: %w", err)
	}
	repo.Client = &auth.Client{
		Client: &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: stall, ResponseHeaderTimeout: stall,
			DialContext: (&net.Dialer{Timeout: stall}).DialContext, DisableCompression: true,
		}},
		Header: http.Header{"User-Agent": {"leat"}}, Cache: auth.NewCache(), Credential: credentials.Credential(store),
	}
	repo.PlainHTTP = r.PlainHTTP || isLocal(repo.Reference.Host())
	repo.MaxMetadataBytes, repo.TagListMaxPages, repo.ReferrerListMaxPages = 4*maxManifest, maxPages, maxPages
	repo.SkipReferrersGC = true
	return repo, nil
}

// isLocal says whether a registry is on this machine.
func isLocal(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// within bounds an operation, and says so when that was why it failed.
func (r Registry) within(ctx context.Context, do func(context.Context) error) error {
	timeout := r.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := do(bounded)
	var network net.Error
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case bounded.Err() != nil:
		return fmt.Errorf("the registry took longer than %s: %w", timeout, err)
	case errors.As(err, &network):
		return fmt.Errorf("the registry cannot be reached: %w; a bundle can also be installed from its file", err)
	}
	var answer *errcode.ErrorResponse
	if errors.Is(err, auth.ErrBasicCredentialNotFound) || errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden) {
		return fmt.Errorf("%w; log in with docker login, podman login or oras login", err)
	}
	return err
}

// Pull fetches a plugin and the signatures that are attached to it. Nothing of
// it has been installed or trusted.
func (r Registry) Pull(ctx context.Context, from Address) (a *Artifact, err error) {
	repo, err := r.repository(from.Repository)
	if err != nil {
		return nil, err
	}
	err = r.within(ctx, func(ctx context.Context) error {
		a, err = pull(ctx, repo, from)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", from, err)
	}
	return a, nil
}

func pull(ctx context.Context, repo *remote.Repository, from Address) (*Artifact, error) {
	if from.Tag == "" && from.Digest == "" {
		return nil, errors.New("name a version, as in host/repository:1.2.0, or a digest")
	}
	manifest, err := pullManifest(ctx, repo, from)
	if err != nil {
		return nil, err
	}
	get := func(d ocispec.Descriptor) ([]byte, error) { return read(ctx, repo.Blobs(), d) }
	a, err := decode(manifest, get)
	if err != nil {
		return nil, err
	}
	if from.Tag != "" && from.Tag != a.Bundle.Manifest.Version {
		return nil, fmt.Errorf("the tag %s holds version %s: a plugin's tag is its version", from.Tag, a.Bundle.Manifest.Version)
	}
	return a, pullSignatures(ctx, repo, a)
}

// pullManifest fetches an OCI manifest. One that was asked for by digest is
// held against it.
func pullManifest(ctx context.Context, repo *remote.Repository, from Address) ([]byte, error) {
	reference := from.Digest
	if reference == "" {
		reference = from.Tag
	}
	d, body, err := repo.Manifests().FetchReference(ctx, reference)
	if errors.Is(err, errdef.ErrNotFound) {
		err = fmt.Errorf("%w: the registry has no such repository, or no %s in it", errdef.ErrNotFound, reference)
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if d.Size > maxManifest {
		return nil, fmt.Errorf("the manifest has %d bytes, more than the %d that are allowed", d.Size, maxManifest)
	}
	manifest, err := readBody(body, d)
	if err == nil && from.Digest != "" && string(digest.FromBytes(manifest)) != from.Digest {
		err = fmt.Errorf("the registry returned %s", digest.FromBytes(manifest))
	}
	return manifest, err
}

// pullSignatures attaches the signatures that the registry lists, by its
// referrers API or the tag that stands for it. The artifact types in the list
// are not relied upon: cosign's own entries in the tag's index lack them.
func pullSignatures(ctx context.Context, repo *remote.Repository, a *Artifact) error {
	var found []ocispec.Descriptor
	err := repo.Referrers(ctx, a.descriptor(), "", func(page []ocispec.Descriptor) error {
		found = append(found, page...)
		if len(found) > maxReferrers {
			return fmt.Errorf("more than %d artifacts are attached to it", maxReferrers)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errdef.ErrNotFound) {
		return fmt.Errorf("list signatures: %w", err)
	}
	get := func(d ocispec.Descriptor) ([]byte, error) { return read(ctx, repo.Blobs(), d) }
	for _, d := range found {
		if d.MediaType != ocispec.MediaTypeImageManifest {
			continue
		}
		if err := checkDigest(d.Digest); err != nil {
			return err
		}
		if d.Size > maxManifest || d.Size < 0 {
			return fmt.Errorf("a signature manifest has %d bytes, more than the %d that are allowed", d.Size, maxManifest)
		}
		manifest, err := read(ctx, repo.Manifests(), d)
		if err != nil {
			return fmt.Errorf("read signature %s: %w", d.Digest, err)
		}
		if digest.FromBytes(manifest) != d.Digest {
			return fmt.Errorf("the registry returned another signature than %s", d.Digest)
		}
		s, err := decodeReferrer(manifest, a.Digest, get)
		if err != nil {
			return err
		}
		if s != nil && len(a.Signatures) < maxSignatures {
			a.Attach(s)
		}
	}
	return nil
}

type fetcher interface {
	Fetch(context.Context, ocispec.Descriptor) (io.ReadCloser, error)
}

func read(ctx context.Context, from fetcher, d ocispec.Descriptor) ([]byte, error) {
	body, err := from.Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return readBody(body, d)
}

// readBody reads no more than a descriptor says, however much is sent.
func readBody(body io.Reader, d ocispec.Descriptor) ([]byte, error) {
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(body, d.Size+1))
	if err == nil && n != d.Size {
		err = fmt.Errorf("%d bytes were sent for %s, its descriptor says %d", n, d.Digest, d.Size)
	}
	return out.Bytes(), err
}

// Push stores a plugin and its signatures in a repository, tagged with its
// version. A version that is there with another content is not replaced.
func (r Registry) Push(ctx context.Context, a *Artifact, to Address) (Address, error) {
	version := a.Bundle.Manifest.Version
	if to.Digest != "" || to.Tag != "" && to.Tag != version {
		return Address{}, fmt.Errorf("push %s: the tag is the version, %s: name the repository alone", to, version)
	}
	to.Tag = version
	repo, err := r.repository(to.Repository)
	if err != nil {
		return Address{}, err
	}
	err = r.within(ctx, func(ctx context.Context) error {
		there, err := repo.Resolve(ctx, version)
		if err == nil && there.Digest != a.Digest {
			return fmt.Errorf("version %s is there already with the digest %s: publish a new version", version, there.Digest)
		}
		if err != nil && !errors.Is(err, errdef.ErrNotFound) {
			return err
		}
		return push(ctx, repo, a)
	})
	if err != nil {
		return Address{}, fmt.Errorf("push %s: %w", to, err)
	}
	return to, nil
}

func push(ctx context.Context, repo *remote.Repository, a *Artifact) error {
	for d, data := range a.blobs {
		if err := pushBlob(ctx, repo, ocispec.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: int64(len(data))}, data); err != nil {
			return err
		}
	}
	if err := repo.PushReference(ctx, a.descriptor(), bytes.NewReader(a.manifest), a.Bundle.Manifest.Version); err != nil {
		return fmt.Errorf("store manifest: %w", err)
	}
	return pushSignatures(ctx, repo, a.descriptor(), a.Signatures)
}

func pushSignatures(ctx context.Context, repo *remote.Repository, subject ocispec.Descriptor, signatures [][]byte) error {
	for _, s := range signatures {
		r, err := newReferrer(subject, s)
		if err != nil {
			return err
		}
		for _, blob := range [][]byte{s, emptyConfig.Data} {
			if err := pushBlob(ctx, repo, describe("application/octet-stream", blob), blob); err != nil {
				return err
			}
		}
		if exists, err := repo.Manifests().Exists(ctx, r.desc); err != nil {
			return err
		} else if exists {
			continue
		}
		if err := repo.Push(ctx, r.desc, bytes.NewReader(r.manifest)); err != nil {
			return fmt.Errorf("store signature: %w", err)
		}
	}
	return nil
}

func pushBlob(ctx context.Context, repo *remote.Repository, d ocispec.Descriptor, data []byte) error {
	exists, err := repo.Blobs().Exists(ctx, d)
	if err == nil && !exists {
		err = repo.Blobs().Push(ctx, d, bytes.NewReader(data))
	}
	if err != nil {
		return fmt.Errorf("store blob %s: %w", d.Digest, err)
	}
	return nil
}

// Versions lists the tags of a repository that are versions.
func (r Registry) Versions(ctx context.Context, from Address) (versions []string, err error) {
	repo, err := r.repository(from.Repository)
	if err != nil {
		return nil, err
	}
	err = r.within(ctx, func(ctx context.Context) error {
		return repo.Tags(ctx, "", func(tags []string) error {
			for _, t := range tags {
				if bundle.CheckVersion(t) == nil {
					versions = append(versions, t)
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list versions of %s: %w", from.Repository, err)
	}
	return versions, nil
}
