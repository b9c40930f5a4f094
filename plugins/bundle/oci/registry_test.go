package oci

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/leat-etl/leat/plugins/bundle/sign"
)

// serve starts a registry whose answers pass through change, and returns the
// address of a repository in it.
func serve(t *testing.T, referrers bool, change func(http.Handler) http.Handler) Address {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	h := registry.New(registry.WithReferrersSupport(referrers), registry.Logger(log.New(io.Discard, "", 0)))
	if change != nil {
		h = change(h)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return Address{Repository: strings.TrimPrefix(server.URL, "http://") + "/acme/mask"}
}

func version(t *testing.T, v string) *Artifact {
	t.Helper()
	f := files()
	f["plugin.toml"] = []byte(strings.Replace(manifest, "1.2.0", v, 1))
	return assemble(t, f)
}

// TestPushAndPull goes through registries with and without the referrers API.
func TestPushAndPull(t *testing.T) {
	for _, referrers := range []bool{true, false} {
		to := serve(t, referrers, nil)
		a := version(t, "1.2.0")
		a.Attach([]byte(`{"first": 1}`))
		at, err := Registry{}.Push(t.Context(), a, to)
		if err != nil {
			t.Fatal(err)
		}
		if at.Tag != "1.2.0" {
			t.Errorf("pushed to %s", at)
		}
		a.Attach([]byte(`{"second": 2}`)) // signed once more, later
		for range 2 {
			if _, err := (Registry{}).Push(t.Context(), a, to); err != nil {
				t.Fatal(err)
			}
		}
		for _, from := range []Address{at, {Repository: to.Repository, Digest: string(a.Digest)}} {
			b, err := Registry{}.Pull(t.Context(), from)
			if err != nil {
				t.Fatal(err)
			}
			if b.Digest != a.Digest || len(b.Signatures) != 2 {
				t.Errorf("referrers API %v: pulled %s with %d signatures", referrers, b.Digest, len(b.Signatures))
			}
		}
		if _, err := (Registry{}).Push(t.Context(), version(t, "1.10.0-rc.1"), to); err != nil {
			t.Fatal(err)
		}
		versions, err := Registry{}.Versions(t.Context(), to)
		if err != nil || len(versions) != 2 {
			t.Errorf("versions %q %v", versions, err)
		}
		f := files()
		f["README.md"] = []byte("changed")
		if _, err := (Registry{}).Push(t.Context(), assemble(t, f), to); err == nil || !strings.Contains(err.Error(), "version 1.2.0 is there already") {
			t.Errorf("a published version was replaced: %v", err)
		}
	}
}

func TestAddresses(t *testing.T) {
	d := digest.FromString("x")
	for text, want := range map[string]Address{
		"localhost:5000/acme/mask:1.2.0":   {"localhost:5000/acme/mask", "1.2.0", ""},
		"oci://ghcr.io/acme/mask":          {"ghcr.io/acme/mask", "", ""},
		"ghcr.io/acme/mask@" + string(d):   {"ghcr.io/acme/mask", "", string(d)},
		"ghcr.io/acme/mask:1@" + string(d): {"ghcr.io/acme/mask", "", string(d)},
	} {
		got, err := ParseAddress(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{"mask", "ghcr.io/Acme/mask:1", "ghcr.io/a/../b:1", "ghcr.io/a@sha512:" + strings.Repeat("a", 128), "http://x/y:1", ""} {
		if got, err := ParseAddress(text); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
	if s := (Address{"h/r", "1", "sha256:x"}).String() + (Address{"h/r", "1", ""}).String() + (Address{Repository: "h/r"}).String(); s != "h/r@sha256:xh/r:1h/r" {
		t.Error(s)
	}
}

// TestRegistriesThatFail are down, silent, slow, or say something else than
// they were asked for.
func TestRegistriesThatFail(t *testing.T) {
	other := version(t, "2.0.0")
	release := make(chan struct{})
	defer close(release)
	body := func(path, text string) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, path) {
					h.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				fmt.Fprint(w, text) // the client may hang up before the end
			})
		}
	}
	good := version(t, "1.2.0")
	module := string(digest.FromBytes(emptyModule))
	for name, c := range map[string]struct {
		change func(http.Handler) http.Handler
		digest bool // pull by digest rather than by tag
		want   string
	}{
		"silent": {func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					select {
					case <-release:
					case <-r.Context().Done():
					}
					return
				}
				h.ServeHTTP(w, r)
			})
		}, false, "took longer than"},
		"slow": {func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, module) {
					h.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Length", "8")
				w.WriteHeader(http.StatusOK)
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			})
		}, false, "took longer than"},
		"another artifact for the tag": {body("/manifests/1.2.0", string(other.manifest)), false, "sha256:"},
		"another for the digest":       {body("/manifests/sha256:", string(other.manifest)), true, "digest"},
		"another blob":                 {body("/blobs/"+module, "\x00asm\x01\x00\x00\x01"), false, "blob has the digest"},
		"a longer blob":                {body("/blobs/"+module, string(emptyModule)+strings.Repeat("x", 1<<20)), false, "its descriptor says 8"},
		"a shorter blob":               {body("/blobs/"+module, "\x00asm"), false, "mismatch Content-Length"},
		"not a manifest":               {body("/manifests/1.2.0", "<html>sign in</html>"), false, "read OCI manifest"},
		"login": {func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				h.ServeHTTP(w, r)
			})
		}, false, "docker login"},
	} {
		to := serve(t, true, c.change)
		quick := Registry{Timeout: 20 * time.Second}
		if _, err := quick.Push(t.Context(), good, to); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if strings.Contains(c.want, "longer") {
			quick.Timeout = 300 * time.Millisecond
		}
		from := Address{Repository: to.Repository, Tag: "1.2.0"}
		if c.digest {
			from = Address{Repository: to.Repository, Digest: string(good.Digest)}
		}
		_, err := quick.Pull(t.Context(), from)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "pull "+from.String()) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := (Registry{}).Pull(t.Context(), Address{Repository: "127.0.0.1:1/acme/mask", Tag: "1.2.0"}); err == nil || !strings.Contains(err.Error(), "the registry cannot be reached") {
		t.Errorf("down: %v", err)
	}
}

// TestCredentials are those that docker login has stored; without them the
// error says so.
func TestCredentials(t *testing.T) {
	to := serve(t, true, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "acme" || password != "a secret" {
				w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	a := version(t, "1.2.0")
	if _, err := (Registry{}).Push(t.Context(), a, to); err == nil || !strings.Contains(err.Error(), "log in with docker login") {
		t.Errorf("without credentials: %v", err)
	}
	host, _, _ := strings.Cut(to.Repository, "/")
	stored := `{"auths":{"` + host + `":{"auth":"YWNtZTphIHNlY3JldA=="}}}` // acme:a secret
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(stored), 0o600); err != nil {
		t.Fatal(err)
	}
	at, err := Registry{}.Push(t.Context(), a, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Registry{}).Pull(t.Context(), at); err != nil {
		t.Error(err)
	}
}

// TestMovedTags pulls tags that do not hold what they say, or hold something
// that was not asked for at all.
func TestMovedTags(t *testing.T) {
	to := serve(t, true, nil)
	if _, err := (Registry{}).Pull(t.Context(), Address{Repository: to.Repository}); err == nil || !strings.Contains(err.Error(), "name a version") {
		t.Errorf("no version: %v", err)
	}
	if _, err := (Registry{}).Push(t.Context(), version(t, "1.2.0"), Address{Repository: to.Repository, Tag: "latest"}); err == nil || !strings.Contains(err.Error(), "the tag is the version") {
		t.Errorf("pushed as latest: %v", err)
	}
	a := version(t, "1.3.0")
	if _, err := (Registry{}).Push(t.Context(), a, to); err != nil {
		t.Fatal(err)
	}
	host, _, _ := strings.Cut(to.Repository, "/")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+host+"/v2/acme/mask/manifests/1.2.0", bytes.NewReader(a.manifest))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if _, err := (Registry{}).Pull(t.Context(), Address{Repository: to.Repository, Tag: "1.2.0"}); err == nil || !strings.Contains(err.Error(), "the tag 1.2.0 holds version 1.3.0") {
		t.Errorf("moved tag: %v", err)
	}
}

// TestCosign reads and verifies what cosign made; testdata/cosign says how.
func TestCosign(t *testing.T) {
	for _, algorithm := range []sign.Algorithm{sign.ECDSA, sign.Ed25519} {
		at := filepath.Join("testdata", "cosign", string(algorithm))
		a, err := ReadFile(at + ".leat")
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(at + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		key, err := sign.ParsePublicKey(text)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Signatures) != 1 {
			t.Fatalf("%d signatures", len(a.Signatures))
		}
		s, err := sign.Parse(a.Signatures[0])
		if err != nil {
			t.Fatal(err)
		}
		if s.Digest != string(a.Digest) || s.KeyID != key.ID() || !s.MadeBy(key) || key.Algorithm() != algorithm {
			t.Errorf("%s: %+v is not by %s", algorithm, s, key.ID())
		}
		referrer, err := os.ReadFile(at + ".referrer.json")
		if err != nil {
			t.Fatal(err)
		}
		get := func(ocispec.Descriptor) ([]byte, error) { return a.Signatures[0], nil }
		if found, err := decodeReferrer(referrer, a.Digest, get); err != nil || !bytes.Equal(found, a.Signatures[0]) {
			t.Errorf("%s: cosign's referrer: %v", algorithm, err)
		}
	}
}
