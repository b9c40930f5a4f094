package oci

import (
	"archive/tar"
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// FileName is how the file of a bundle is called by default.
func (a *Artifact) FileName() string {
	r := a.Ref()
	return fmt.Sprintf("%s-%s-%s.leat", r.Publisher, r.Name, r.Version)
}

// Write writes the artifact and its signatures as an OCI image layout in one
// tar file. The same artifact gives the same bytes on every machine.
func (a *Artifact) Write(w io.Writer) error {
	blobs := maps.Clone(a.blobs)
	main := a.descriptor()
	main.Annotations = map[string]string{ocispec.AnnotationRefName: a.Bundle.Manifest.Version}
	blobs[main.Digest] = a.manifest
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{main}}
	for _, s := range a.Signatures {
		r, err := newReferrer(a.descriptor(), s)
		if err != nil {
			return err
		}
		blobs[r.desc.Digest], blobs[digest.FromBytes(s)], blobs[emptyConfig.Digest] = r.manifest, s, emptyConfig.Data
		index.Manifests = append(index.Manifests, r.desc)
	}
	text, err := json.Marshal(index)
	if err != nil {
		return fmt.Errorf("encode index: %w", err)
	}
	t := tar.NewWriter(w)
	entry := func(name string, data []byte) error {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o644, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err := t.Write(data)
		return err
	}
	if err := entry(ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	if err := entry(ocispec.ImageIndexFile, text); err != nil {
		return err
	}
	for _, d := range slices.Sorted(maps.Keys(blobs)) {
		if err := entry(path.Join("blobs", "sha256", d.Encoded()), blobs[d]); err != nil {
			return err
		}
	}
	return t.Close()
}

// WriteFile writes the artifact to a file, all of it or nothing.
func (a *Artifact) WriteFile(name string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".leat-*")
	if err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write bundle %s: %w", name, err), os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	err = a.Write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// ReadFile reads the file of a bundle.
func ReadFile(name string) (*Artifact, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	defer f.Close()
	a, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("bundle %s is refused: %w", name, err)
	}
	return a, nil
}

// Read reads an OCI image layout in a tar file that holds one plugin and
// signatures of it, and nothing else.
func Read(r io.Reader) (*Artifact, error) {
	files, err := readTar(r)
	if err != nil {
		return nil, err
	}
	var layout ocispec.ImageLayout
	if err := json.Unmarshal(files[ocispec.ImageLayoutFile], &layout); err != nil || layout.Version != ocispec.ImageLayoutVersion {
		return nil, fmt.Errorf("%s is missing or of another version than %s: it is not an OCI image layout", ocispec.ImageLayoutFile, ocispec.ImageLayoutVersion)
	}
	var index ocispec.Index
	if err := strictJSON(files[ocispec.ImageIndexFile], &index); err != nil {
		return nil, fmt.Errorf("read %s: %w", ocispec.ImageIndexFile, err)
	}
	used := map[string]bool{ocispec.ImageLayoutFile: true, ocispec.ImageIndexFile: true, blobPath(emptyConfig.Digest): true}
	get := func(d ocispec.Descriptor) ([]byte, error) {
		data, ok := files[blobPath(d.Digest)]
		if !ok {
			return nil, fmt.Errorf("blob %s is missing", d.Digest)
		}
		used[blobPath(d.Digest)] = true
		return data, nil
	}
	a, err := decodeIndex(index, get)
	if err != nil {
		return nil, err
	}
	for name := range files {
		if !used[name] {
			return nil, fmt.Errorf("%s belongs to nothing in the bundle", name)
		}
	}
	return a, nil
}

// decodeIndex decodes the one plugin of an index, then its signatures.
func decodeIndex(index ocispec.Index, get fetch) (*Artifact, error) {
	if len(index.Manifests) > 1+maxSignatures {
		return nil, fmt.Errorf("the index names %d manifests, more than one plugin and %d signatures", len(index.Manifests), maxSignatures)
	}
	var plugin []byte
	var rest [][]byte
	for _, d := range index.Manifests {
		if d.MediaType != ocispec.MediaTypeImageManifest {
			return nil, fmt.Errorf("the index names a manifest of the unknown media type %q", d.MediaType)
		}
		if d.Size > maxManifest {
			return nil, fmt.Errorf("a manifest has %d bytes, more than the %d that are allowed", d.Size, maxManifest)
		}
		probe := Artifact{blobs: map[digest.Digest][]byte{}}
		data, err := probe.read(d, get)
		if err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		switch {
		case isReferrer(data):
			rest = append(rest, data)
		case plugin != nil:
			return nil, errors.New("the index names two plugins: a bundle holds one")
		default:
			plugin = data
		}
	}
	if plugin == nil {
		return nil, fmt.Errorf("%w: the index names no plugin", errNotLeat)
	}
	a, err := decode(plugin, get)
	if err != nil {
		return nil, err
	}
	for _, data := range rest {
		s, err := decodeReferrer(data, a.Digest, get)
		if err != nil {
			return nil, err
		}
		if s == nil {
			return nil, errors.New("the index names something that is neither a plugin nor a signature")
		}
		a.Attach(s)
	}
	return a, nil
}

func blobPath(d digest.Digest) string {
	if checkDigest(d) != nil {
		return ""
	}
	return path.Join("blobs", "sha256", d.Encoded())
}

var (
	blobName    = regexp.MustCompile(`^blobs/sha256/[0-9a-f]{64}$`)
	compression = map[string]string{"\x1f\x8b": "gzip", "\x28\xb5\x2f\xfd": "zstd", "BZh": "bzip2", "\xfd7zXZ": "xz"}
)

// readTar reads the files of a tar file that may be in an image layout, each
// once, and refuses everything else.
func readTar(r io.Reader) (map[string][]byte, error) {
	in := bufio.NewReaderSize(io.LimitReader(r, MaxFile), 1<<16)
	start, err := in.Peek(8)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for magic, name := range compression {
		if strings.HasPrefix(string(start), magic) {
			return nil, fmt.Errorf("it is compressed with %s: a bundle is a plain tar file, so that what it expands to is known beforehand", name)
		}
	}
	files := map[string][]byte{}
	var total int64
	for t := tar.NewReader(in); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read tar file: %w", err)
		}
		if h.Typeflag == tar.TypeDir && (path.Clean(h.Name) == "blobs" || path.Clean(h.Name) == "blobs/sha256") {
			continue
		}
		if err := checkEntry(h); err != nil {
			return nil, err
		}
		if _, twice := files[h.Name]; twice {
			return nil, fmt.Errorf("entry %q is there twice", h.Name)
		}
		if total += h.Size; total > maxTotal {
			return nil, fmt.Errorf("the entries have more than the %d bytes that are allowed together", int64(maxTotal))
		}
		data, err := io.ReadAll(t) // at most h.Size, and no memory for what is claimed and not there
		if err != nil {
			return nil, fmt.Errorf("read entry %q: %w", h.Name, err)
		}
		files[h.Name] = data
	}
	return files, nil
}

// checkEntry refuses an entry before its content is read.
func checkEntry(h *tar.Header) error {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse") {
			return fmt.Errorf("entry %q is sparse: it would expand to %d bytes", h.Name, h.Size)
		}
	}
	limit := int64(maxManifest)
	switch {
	case path.IsAbs(h.Name) || strings.Contains(h.Name, "..") || strings.Contains(h.Name, `\`):
		return fmt.Errorf("entry %q leads out of the bundle", h.Name)
	case h.Typeflag == tar.TypeSymlink || h.Typeflag == tar.TypeLink:
		return fmt.Errorf("entry %q is a link to %q: a bundle holds files only", h.Name, h.Linkname)
	case h.Typeflag != tar.TypeReg:
		return fmt.Errorf("entry %q is of type %q: a bundle holds files only", h.Name, string(h.Typeflag))
	case blobName.MatchString(h.Name):
		limit = layerKinds[ModuleType].limit
	case h.Name != ocispec.ImageLayoutFile && h.Name != ocispec.ImageIndexFile:
		return fmt.Errorf("entry %q is not part of an OCI image layout", h.Name)
	}
	if h.Size > limit || h.Size < 0 {
		return fmt.Errorf("entry %q has %d bytes, more than the %d that are allowed", h.Name, h.Size, limit)
	}
	return nil
}
