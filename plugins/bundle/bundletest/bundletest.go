// Package bundletest makes small plugins, keys and registries for the tests of
// bundles.
package bundletest

import (
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/oci"
	"github.com/leat-etl/leat/plugins/bundle/sign"
)

// Module returns a module that imports one function of each capability and has
// no code.
func Module(capabilities ...string) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	if len(capabilities) == 0 {
		return out
	}
	body := []byte{byte(len(capabilities))}
	for _, c := range capabilities {
		name := c + "_x"
		body = append(append(append(body, 4), "leat"...), byte(len(name)))
		body = append(append(body, name...), 0, 0)
	}
	out = append(out, 1, 4, 1, 0x60, 0, 0)
	return append(append(out, 2, byte(len(body))), body...)
}

// Files are those of a plugin, publisher/name@version, that asks for the
// capabilities.
func Files(t testing.TB, ref string, capabilities ...string) map[string][]byte {
	t.Helper()
	r, err := bundle.ParseRef(ref)
	if err != nil {
		t.Fatal(err)
	}
	manifest := fmt.Sprintf("publisher = %q\nname = %q\nversion = %q\nkind = \"transform\"\nabi = 1\ndescription = \"Does what %s does.\"\nlicence = \"MIT\"\n", r.Publisher, r.Name, r.Version, r.Name)
	if len(capabilities) > 0 {
		manifest += fmt.Sprintf("capabilities = [\"%s\"]\n", strings.Join(capabilities, `", "`))
	}
	return map[string][]byte{"plugin.wasm": Module(capabilities...), "plugin.toml": []byte(manifest), "README.md": []byte("# " + r.Name + "\n")}
}

// Artifact assembles Files, some of them replaced.
func Artifact(t testing.TB, ref string, replaced map[string]string, capabilities ...string) *oci.Artifact {
	t.Helper()
	files := maps.Clone(Files(t, ref, capabilities...))
	for name, text := range replaced {
		files[name] = []byte(text)
	}
	a, err := oci.Assemble(files)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Key makes a key.
func Key(t testing.TB) sign.PrivateKey {
	t.Helper()
	k, err := sign.Generate(sign.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Sign attaches a signature.
func Sign(t testing.TB, a *oci.Artifact, k sign.PrivateKey) *oci.Artifact {
	t.Helper()
	s, err := sign.Sign(k, string(a.Digest))
	if err != nil {
		t.Fatal(err)
	}
	a.Attach(s)
	return a
}

// Registry starts a registry, with or without the referrers API, and returns
// its host. Its answers pass through change, nil for none.
func Registry(t testing.TB, referrers bool, change func(http.Handler) http.Handler) string {
	t.Helper()
	h := registry.New(registry.WithReferrersSupport(referrers), registry.Logger(log.New(io.Discard, "", 0)))
	if change != nil {
		h = change(h)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}
