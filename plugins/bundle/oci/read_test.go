package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/leat-etl/leat/plugins/bundle"
)

// goldenDigest is the digest of the small plugin.
const goldenDigest = "c184421e5f2bed5be1a59faa8137c7c07cbb7003e949cc923d7f2f6f27ef939b"

const manifest = `publisher = "acme"
name = "mask"
version = "1.2.0"
kind = "transform"
abi = 1
description = "Hide values."
licence = "MIT"
`

var emptyModule = []byte("\x00asm\x01\x00\x00\x00")

// files are those of a small plugin.
func files() map[string][]byte {
	return map[string][]byte{
		"plugin.wasm": emptyModule, "plugin.toml": []byte(manifest), "README.md": []byte("# Mask\n"), "LICENSE": []byte("MIT"),
		"config.schema.json": []byte(`{"type":"object"}`), "tests/nulls.toml": []byte("a = 1\n"), "tests/empty.json": []byte("{}"),
	}
}

func assemble(t *testing.T, f map[string][]byte) *Artifact {
	t.Helper()
	a, err := Assemble(f)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func write(t *testing.T, a *Artifact) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := a.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestRoundTrip reads what was written, and the same bytes come of it.
func TestRoundTrip(t *testing.T) {
	a := assemble(t, files())
	a.Attach([]byte(`{"a signature": 1}`))
	a.Attach([]byte(`{"a signature": 2}`))
	a.Attach([]byte(`{"a signature": 1}`))
	text := write(t, a)
	b, err := Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if b.Digest != a.Digest || b.Ref().String() != "acme/mask@1.2.0" || len(b.Signatures) != 2 || len(b.Files) != 6 || string(b.Files["tests/empty.json"]) != "{}" ||
		!bytes.Equal(b.Bundle.Module, emptyModule) || b.Bundle.Digest != string(digest.FromBytes(emptyModule)) || b.FileName() != "acme-mask-1.2.0.leat" {
		t.Errorf("read back %+v", b)
	}
	if !bytes.Equal(write(t, b), text) {
		t.Error("writing again gives other bytes")
	}
}

// TestPackedReport: the report on the very module goes into the bundle.
func TestPackedReport(t *testing.T) {
	dir := t.TempDir()
	all := files()
	report := `{"digest": "` + string(digest.FromBytes(emptyModule)) + `", "score": 3, "of": 4, "scores": []}`
	all[ConformanceName] = []byte(report)
	if err := os.Mkdir(filepath.Join(dir, TestFolder), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range all {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a, err := Pack(dir)
	if err != nil || string(a.Files[ConformanceName]) != report {
		t.Errorf("the report is not packed: %v", err)
	}
}

// TestReproducible packs one plugin in two places, at two times and with other
// rights, and holds the digest against the one that was written down.
func TestReproducible(t *testing.T) {
	var first []byte
	for i, mode := range []os.FileMode{0o600, 0o644} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, TestFolder), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, data := range files() {
			if name == "LICENSE" && i == 1 {
				name = "LICENCE.txt"
			}
			if err := os.WriteFile(filepath.Join(dir, name), data, mode); err != nil {
				t.Fatal(err)
			}
		}
		t.Chdir(filepath.Dir(dir))
		a, err := Pack(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		if want := "sha256:" + goldenDigest; string(a.Digest) != want {
			t.Errorf("digest %s, want %s: a release of Leat gave another", a.Digest, want)
		}
		text := write(t, a)
		if first == nil {
			first = text
		} else if !bytes.Equal(first, text) {
			t.Error("two packings of one plugin differ")
		}
	}
}

func TestPackRefuses(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"no publisher": {"plugin.toml", strings.Replace(manifest, `publisher = "acme"`, "", 1), `key "publisher" is missing`},
		"capability":   {"plugin.toml", manifest + "capabilities = [\"http\"]\n", "declares the capability http, which its module does not use"},
		"other ABI":    {"plugin.toml", strings.Replace(manifest, "abi = 1", "abi = 9", 1), "speaks ABI 9"},
		"test's name":  {"tests/Ä.toml", "x", "may have lower-case letters"},
		"two modules":  {"b.wasm", "\x00asm\x01\x00\x00\x00", "holds 2 .wasm files"},
		"large":        {"README.md", strings.Repeat("x", 1<<20+1), "README.md has 1048577 bytes"},
		"no score":     {ConformanceName, `{"score": 3}`, "it is no report of leat plugin conformance"},
		"other score":  {ConformanceName, `{"digest": "sha256:00", "score": 3, "of": 3}`, "it is of the module sha256:00"},
		"part":         {ConformanceName, `{"digest": "` + string(digest.FromBytes(emptyModule)) + `", "score": 3, "of": 3, "partial": true}`, "without --quick and --only"},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, TestFolder), 0o755); err != nil {
			t.Fatal(err)
		}
		all := files()
		all[c.file] = []byte(c.text)
		for name, data := range all {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Pack(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// entry is one of a crafted tar file.
type entry struct {
	tar.Header
	data []byte
}

// entries takes a bundle's file apart.
func entries(t *testing.T, text []byte) []entry {
	t.Helper()
	var out []entry
	for r := tar.NewReader(bytes.NewReader(text)); ; {
		h, err := r.Next()
		if err != nil {
			return out
		}
		data := make([]byte, h.Size)
		if _, err := r.Read(data); err != nil && h.Size > 0 && err.Error() != "EOF" {
			t.Fatal(err)
		}
		out = append(out, entry{*h, data})
	}
}

func pack(t *testing.T, list []entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range list {
		e.Size, e.Format = int64(len(e.data)), tar.FormatUnknown
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func file(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, []byte(data)}
}

// TestHostileFiles crafts tar files that no honest packer writes.
func TestHostileFiles(t *testing.T) {
	good := write(t, assemble(t, files()))
	add := func(e entry) func(*testing.T) []byte {
		return func(t *testing.T) []byte { return pack(t, append(entries(t, good), e)) }
	}
	link := func(kind byte, name, to string) entry {
		return entry{tar.Header{Typeflag: kind, Name: name, Linkname: to, Mode: 0o777}, nil}
	}
	bomb := func(w func(*bytes.Buffer)) func(*testing.T) []byte {
		return func(*testing.T) []byte {
			var out bytes.Buffer
			w(&out)
			return out.Bytes()
		}
	}
	for name, c := range map[string]struct {
		craft func(*testing.T) []byte
		want  string
	}{
		"traversal":      {add(file("../../etc/cron.d/x", "x")), `entry "../../etc/cron.d/x" leads out of the bundle`},
		"in the middle":  {add(file("blobs/sha256/../../x", "x")), "leads out of the bundle"},
		"absolute":       {add(file("/etc/passwd", "x")), `entry "/etc/passwd" leads out of the bundle`},
		"backslash":      {add(file(`blobs\..\x`, "x")), "leads out of the bundle"},
		"symbolic link":  {add(link(tar.TypeSymlink, "blobs/sha256/"+strings.Repeat("a", 64), "/etc/passwd")), `is a link to "/etc/passwd"`},
		"hard link":      {add(link(tar.TypeLink, "x", "index.json")), `entry "x" is a link to "index.json"`},
		"device":         {add(link(tar.TypeBlock, "x", "")), `entry "x" is of type "4"`},
		"named pipe":     {add(link(tar.TypeFifo, "x", "")), `is of type "6"`},
		"duplicate":      {add(file("index.json", "{}")), `entry "index.json" is there twice`},
		"stray":          {add(file("install.sh", "x")), `entry "install.sh" is not part of an OCI image layout`},
		"stray blob":     {add(file("blobs/sha256/"+digest.FromString("x").Encoded(), "x")), "belongs to nothing in the bundle"},
		"other hash":     {add(file("blobs/sha512/"+strings.Repeat("a", 128), "x")), "is not part of an OCI image layout"},
		"large index":    {add(file("index.json", strings.Repeat(" ", maxManifest+1))), `entry "index.json" has 1048577 bytes, more than`},
		"gzip bomb":      {bomb(func(b *bytes.Buffer) { w := gzip.NewWriter(b); w.Write(make([]byte, 32<<20)); w.Close() }), "compressed with gzip"},
		"zstd":           {bomb(func(b *bytes.Buffer) { b.WriteString("\x28\xb5\x2f\xfd0000") }), "compressed with zstd"},
		"large entry":    {bomb(func(b *bytes.Buffer) { header(b, "blobs/sha256/"+strings.Repeat("a", 64), 1<<40) }), "has 1099511627776 bytes, more than"},
		"sparse":         {bomb(sparse), "is sparse: it would expand to"},
		"truncated":      {func(*testing.T) []byte { return good[:len(good)/2] }, "read "},
		"not a tar file": {func(*testing.T) []byte { return []byte(strings.Repeat("hello ", 200)) }, "read tar file"},
		"empty":          {func(*testing.T) []byte { return nil }, "oci-layout is missing"},
		"no index": {func(t *testing.T) []byte {
			return pack(t, append(entries(t, good)[:1], entries(t, good)[2:]...))
		}, "read index.json"},
	} {
		if _, err := Read(bytes.NewReader(c.craft(t))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// header writes a tar header alone, of a size that nobody sends.
func header(b *bytes.Buffer, name string, size int64) {
	w := tar.NewWriter(b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Format: tar.FormatGNU}); err != nil {
		panic(err)
	}
	b.Write(make([]byte, 1024))
}

// sparse writes an entry that is one hole of a gigabyte, in the form that GNU
// tar calls 0.1.
func sparse(b *bytes.Buffer) {
	records := ""
	for _, kv := range []string{"GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.name=blobs/sha256/" + strings.Repeat("a", 64), "GNU.sparse.size=1073741824", "GNU.sparse.numblocks=1", "GNU.sparse.map=1073741824,0"} {
		n := len(kv) + 3
		for len(kv)+2+len(itoa(n)) != n {
			n = len(kv) + 2 + len(itoa(n))
		}
		records += itoa(n) + " " + kv + "\n"
	}
	w := tar.NewWriter(b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "PaxHeaders/x", Size: int64(len(records)), Format: tar.FormatUSTAR}); err != nil {
		panic(err)
	}
	if _, err := w.Write([]byte(records)); err != nil {
		panic(err)
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x", Format: tar.FormatUSTAR}); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	text := b.Bytes()
	text[156] = 'x' // the first entry is a PAX header
	sum := 8 * int64(' ')
	for i, c := range text[:512] {
		if i < 148 || i >= 156 {
			sum += int64(c)
		}
	}
	copy(text[148:], strings.Repeat("0", 6-len(octal(sum)))+octal(sum)+"\x00 ")
}

func itoa(n int) string { return string(appendInt(nil, int64(n), 10)) }

func octal(n int64) string { return string(appendInt(nil, n, 8)) }

func appendInt(b []byte, n, base int64) []byte {
	if n >= base {
		b = appendInt(b, n/base, base)
	}
	return append(b, byte('0'+n%base))
}

// craft is a bundle whose parts a test can change before they are put
// together with right digests.
type craft struct {
	index    ocispec.Index
	manifest ocispec.Manifest
	config   wasmConfig
	blobs    map[digest.Digest][]byte
}

func newCraft(t *testing.T) *craft {
	t.Helper()
	a := assemble(t, files())
	c := &craft{blobs: a.blobs}
	if err := json.Unmarshal(a.manifest, &c.manifest); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(a.blobs[c.manifest.Config.Digest], &c.config); err != nil {
		t.Fatal(err)
	}
	delete(c.blobs, c.manifest.Config.Digest)
	c.manifest.Config.Digest = ""
	return c
}

// replace puts another content behind a layer, with its digest.
func (c *craft) replace(title, text string) {
	for i := range c.manifest.Layers {
		if l := &c.manifest.Layers[i]; l.Annotations[ocispec.AnnotationTitle] == title {
			delete(c.blobs, l.Digest)
			l.Digest, l.Size = digest.FromString(text), int64(len(text))
			c.blobs[l.Digest] = []byte(text)
		}
	}
}

func (c *craft) add(mediaType, title, text string) {
	d := describe(mediaType, []byte(text))
	d.Annotations = map[string]string{ocispec.AnnotationTitle: title}
	c.manifest.Layers, c.blobs[d.Digest] = append(c.manifest.Layers, d), []byte(text)
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

func (c *craft) file(t *testing.T, last func(manifest []byte) []byte) []byte {
	t.Helper()
	if c.config.LayerDigests != nil {
		c.config.LayerDigests = nil
		for _, l := range c.manifest.Layers {
			c.config.LayerDigests = append(c.config.LayerDigests, l.Digest)
		}
	}
	config := encode(c.config)
	if c.manifest.Config.Digest == "" {
		c.manifest.Config = describe(c.manifest.Config.MediaType, config)
	}
	c.blobs[digest.FromBytes(config)] = config
	m := encode(c.manifest)
	if last != nil {
		m = last(m)
	}
	c.blobs[digest.FromBytes(m)] = m
	c.index.Manifests = append([]ocispec.Descriptor{describe(ocispec.MediaTypeImageManifest, m)}, c.index.Manifests...)
	list := []entry{file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`), file("index.json", string(encode(c.index)))}
	for d, data := range c.blobs {
		list = append(list, file("blobs/sha256/"+d.Encoded(), string(data)))
	}
	return pack(t, list)
}

// TestHostileArtifacts crafts bundles whose tar file is in order and whose
// contents are not.
func TestHostileArtifacts(t *testing.T) {
	asks := "\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x02\x12\x01\x04leat\x09http_send\x00\x00"
	for name, c := range map[string]struct {
		change func(*craft)
		last   func([]byte) []byte
		want   string
	}{
		"as it was": {func(*craft) {}, nil, ""},
		"digest": {func(c *craft) {
			c.blobs[c.manifest.Layers[0].Digest] = []byte("\x00asm\x01\x00\x00\x01")
		}, nil, "read plugin.wasm: blob has the digest sha256:"},
		"size":               {func(c *craft) { c.manifest.Layers[1].Size++ }, nil, "its descriptor says"},
		"negative size":      {func(c *craft) { c.manifest.Layers[1].Size = -1 }, nil, "plugin.toml has -1 bytes"},
		"declared too large": {func(c *craft) { c.manifest.Layers[0].Size = 65 << 20 }, nil, "plugin.wasm has 68157440 bytes, more than the 67108864"},
		"missing blob":       {func(c *craft) { delete(c.blobs, c.manifest.Layers[0].Digest) }, nil, "is missing"},
		"other hash":         {func(c *craft) { c.manifest.Layers[0].Digest = digest.SHA512.FromBytes(emptyModule) }, nil, "is not of the form sha256:"},
		"hash as a path":     {func(c *craft) { c.manifest.Layers[0].Digest = "sha256:../../../../etc/passwd" }, nil, "is not of the form sha256:"},
		"media type":         {func(c *craft) { c.add("application/x-sh", "install.sh", "x") }, nil, `unknown media type "application/x-sh"`},
		"gzip layer":         {func(c *craft) { c.manifest.Layers[3].MediaType = "application/vnd.oci.image.layer.v1.tar+gzip" }, nil, "unknown media type"},
		"title":              {func(c *craft) { c.add(TestType, "tests/../../x.toml", "x") }, nil, `a test with the name "tests/../../x.toml"`},
		"title's case":       {func(c *craft) { c.add(ReadmeType, "readme.md", "x") }, nil, `is named "readme.md", expected "README.md"`},
		"two files":          {func(c *craft) { c.add(ReadmeType, "README.md", "another") }, nil, `there are two files "README.md"`},
		"two modules":        {func(c *craft) { c.add(ModuleType, "plugin.wasm", "\x00asm\x01\x00\x00\x00\x00\x02\x01x") }, nil, `there are two files "plugin.wasm"`},
		"no module":          {func(c *craft) { c.manifest.Layers = c.manifest.Layers[1:] }, nil, "plugin.wasm is missing"},
		"tests without end": {func(c *craft) {
			for i := range maxTests {
				c.add(TestType, "tests/t"+itoa(i)+".json", "{}")
			}
		}, nil, "there are 202 tests, more than the 200"},
		"an image":             {func(c *craft) { c.manifest.Config.MediaType = "application/vnd.oci.image.config.v1+json" }, nil, "it is not a Leat plugin"},
		"a component":          {func(c *craft) { c.config.OS = "wasip2" }, nil, "config is for wasm/wasip2"},
		"config's layers":      {func(c *craft) { c.config.LayerDigests = nil }, nil, "config names other layers"},
		"undeclared import":    {func(c *craft) { c.replace("plugin.wasm", asks) }, nil, "uses the capability http, which its plugin.toml does not declare"},
		"unused capability":    {func(c *craft) { c.replace("plugin.toml", manifest+"capabilities = [\"sql\"]\n") }, nil, "declares the capability sql, which its module does not use"},
		"unknown ABI":          {func(c *craft) { c.replace("plugin.toml", strings.Replace(manifest, "abi = 1", "abi = 7", 1)) }, nil, "speaks ABI 7, this leat speaks ABI 1"},
		"name":                 {func(c *craft) { c.replace("plugin.toml", strings.Replace(manifest, `"mask"`, `"../mask"`, 1)) }, nil, `key "name" is "../mask"`},
		"publisher":            {func(c *craft) { c.replace("plugin.toml", strings.Replace(manifest, `"acme"`, `"Acme Inc"`, 1)) }, nil, `key "publisher" is "Acme Inc"`},
		"version":              {func(c *craft) { c.replace("plugin.toml", strings.Replace(manifest, "1.2.0", "1.2", 1)) }, nil, `key "version" is "1.2"`},
		"no publisher":         {func(c *craft) { c.replace("plugin.toml", strings.Replace(manifest, `publisher = "acme"`, "", 1)) }, nil, `key "publisher" is missing`},
		"unknown key":          {func(c *craft) { c.replace("plugin.toml", manifest+"postinstall = \"x\"\n") }, nil, `key "postinstall" is unknown`},
		"a schema's reference": {func(c *craft) { c.replace("config.schema.json", `{"$ref":"http://169.254.169.254/x"}`) }, nil, "may not refer to other documents"},
		"not a module":         {func(c *craft) { c.replace("plugin.wasm", "#!/bin/sh") }, nil, "not a WebAssembly"},
		"another name outside": {func(c *craft) { c.manifest.Annotations[ocispec.AnnotationTitle] = "good/mask" }, nil, `says "good/mask", plugin.toml says "acme/mask"`},
		"a subject":            {func(c *craft) { d := describe("x", nil); c.manifest.Subject = &d }, nil, "the index names no plugin"},
		"two plugins": {func(c *craft) {
			other := encode(c.manifest)
			c.blobs[digest.FromBytes(other)] = other
			c.index.Manifests = append(c.index.Manifests, describe(ocispec.MediaTypeImageManifest, other))
		}, nil, "the index names two plugins"},
		"an index in the index": {func(c *craft) {
			c.index.Manifests = append(c.index.Manifests, describe(ocispec.MediaTypeImageIndex, nil))
		}, nil, "unknown media type"},
		"a key twice": {func(*craft) {}, func(m []byte) []byte {
			return bytes.Replace(m, []byte(`"layers":`), []byte(`"Layers":[],"layers":`), 1)
		}, `the key "layers" is there twice`},
		"more behind": {func(*craft) {}, func(m []byte) []byte { return append(m, "{}"...) }, "something follows"},
		"deep":        {func(*craft) {}, func([]byte) []byte { return []byte(strings.Repeat("[", 10000)) }, "nested too deeply"},
	} {
		crafted := newCraft(t)
		c.change(crafted)
		_, err := Read(bytes.NewReader(crafted.file(t, c.last)))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestHostileSignatures attaches what is no signature of the plugin.
func TestHostileSignatures(t *testing.T) {
	attach := func(c *craft, subject digest.Digest, change func(*ocispec.Manifest)) {
		r, err := newReferrer(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: subject, Size: 1}, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(r.manifest, &m); err != nil {
			t.Fatal(err)
		}
		change(&m)
		text := encode(m)
		c.blobs[digest.FromBytes(text)], c.blobs[digest.FromString("{}")] = text, []byte("{}")
		c.index.Manifests = append(c.index.Manifests, describe(ocispec.MediaTypeImageManifest, text))
	}
	own := assemble(t, files()).Digest
	for name, c := range map[string]struct {
		subject digest.Digest
		change  func(*ocispec.Manifest)
		want    string
	}{
		"own":          {own, func(*ocispec.Manifest) {}, ""},
		"of another":   {digest.FromString("x"), func(*ocispec.Manifest) {}, "attached to another artifact"},
		"another kind": {own, func(m *ocispec.Manifest) { m.ArtifactType = "application/spdx+json" }, "neither a plugin nor a signature"},
		"two layers":   {own, func(m *ocispec.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) }, "wants one layer"},
		"large":        {own, func(m *ocispec.Manifest) { m.Layers[0].Size = maxSignature + 1 }, "wants one layer"},
		"missing":      {own, func(m *ocispec.Manifest) { m.Layers[0].Digest = digest.FromString("gone") }, "is missing"},
	} {
		crafted := newCraft(t)
		attach(crafted, c.subject, c.change)
		a, err := Read(bytes.NewReader(crafted.file(t, nil)))
		if c.want == "" && (err != nil || len(a.Signatures) != 1) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestReadFileNamesTheFile says which bundle is refused.
func TestReadFileNamesTheFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.leat")
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(name); err == nil || !strings.Contains(err.Error(), "bundle "+name+" is refused") {
		t.Error(err)
	}
	a := assemble(t, files())
	if err := a.WriteFile(name); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(name); err != nil || b.Digest != a.Digest || b.Size() != a.Size() {
		t.Errorf("%+v %v", b, err)
	}
	if err := a.WriteFile(filepath.Join(name, "below")); err == nil {
		t.Error("a file was written below a file")
	}
	if left, err := os.ReadDir(filepath.Dir(name)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func FuzzRead(f *testing.F) {
	a, err := Assemble(files())
	if err != nil {
		f.Fatal(err)
	}
	a.Attach([]byte("{}"))
	var text bytes.Buffer
	if err := a.Write(&text); err != nil {
		f.Fatal(err)
	}
	f.Add(text.Bytes())
	var hole bytes.Buffer
	sparse(&hole)
	f.Add(hole.Bytes())
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		if err := bundle.CheckModule(a.Bundle.Manifest, a.Bundle.Module); err != nil || a.Bundle.Manifest.Publisher == "" {
			t.Fatalf("%+v %v", a.Bundle.Manifest, err)
		}
		b, err := Read(bytes.NewReader(write(t, a)))
		if err != nil || b.Digest != a.Digest {
			t.Fatalf("does not read its own writing: %v", err)
		}
	})
}
