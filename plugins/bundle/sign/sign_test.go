package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

var digest = "sha256:" + strings.Repeat("ab", 32)

func secret() ([]byte, error) { return []byte("secret"), nil }

func generate(t *testing.T, a Algorithm) PrivateKey {
	t.Helper()
	k, err := Generate(a)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSignAndVerify(t *testing.T) {
	for _, a := range []Algorithm{ECDSA, Ed25519} {
		k := generate(t, a)
		text, err := Sign(k, digest)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Sign(k, digest)
		if err != nil || !bytes.Equal(text, again) {
			t.Errorf("%s: signing twice gives other bytes", a)
		}
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if s.Digest != digest || s.KeyID != k.Public().ID() || !s.MadeBy(k.Public()) || k.Public().Algorithm() != a {
			t.Errorf("%s: %+v", a, s)
		}
		if s.MadeBy(generate(t, a).Public()) || s.MadeBy(PublicKey{}) {
			t.Errorf("%s: another key verifies it", a)
		}
		forged := s
		forged.message = bytes.Replace(s.message, []byte("abab"), []byte("abac"), 1)
		if forged.MadeBy(k.Public()) {
			t.Errorf("%s: a changed statement is verified", a)
		}
		forged = s
		forged.signature = bytes.Clone(s.signature)
		forged.signature[10] ^= 1
		if forged.MadeBy(k.Public()) {
			t.Errorf("%s: a changed signature is verified", a)
		}
	}
	if _, err := Sign(generate(t, ECDSA), "md5:x"); err == nil {
		t.Error("another digest was signed")
	}
	if _, err := Generate("rsa"); err == nil {
		t.Error("an RSA key was made")
	}
}

// TestPrehashed verifies Ed25519 as cosign signs with it.
func TestPrehashed(t *testing.T) {
	k := generate(t, Ed25519)
	sum := sha512.Sum512([]byte("message"))
	signature, err := k.signer().Sign(rand.Reader, sum[:], &ed25519.Options{Hash: crypto.SHA512})
	if err != nil || !k.public.verify([]byte("message"), signature) || k.public.verify([]byte("massage"), signature) {
		t.Errorf("pre-hashed: %v", err)
	}
}

// TestBadSignatures changes one thing each of a good signature.
func TestBadSignatures(t *testing.T) {
	k := generate(t, ECDSA)
	text, err := Sign(k, digest)
	if err != nil {
		t.Fatal(err)
	}
	payload := func(change func(string) string) func(m map[string]any) {
		return func(m map[string]any) {
			e := m["dsseEnvelope"].(map[string]any)
			plain, err := base64.StdEncoding.DecodeString(e["payload"].(string))
			if err != nil {
				t.Fatal(err)
			}
			e["payload"] = base64.StdEncoding.EncodeToString([]byte(change(string(plain))))
		}
	}
	replace := func(old, new string) func(m map[string]any) {
		return payload(func(s string) string { return strings.Replace(s, old, new, 1) })
	}
	for name, c := range map[string]struct {
		change func(m map[string]any)
		want   string
	}{
		"media type":    {func(m map[string]any) { m["mediaType"] = "application/json" }, "is not that of a Sigstore bundle"},
		"certificate":   {func(m map[string]any) { m["verificationMaterial"] = map[string]any{"certificate": map[string]any{}} }, "certificate of a short-lived key"},
		"no envelope":   {func(m map[string]any) { delete(m, "dsseEnvelope") }, "no DSSE envelope"},
		"payload type":  {func(m map[string]any) { m["dsseEnvelope"].(map[string]any)["payloadType"] = "text/plain" }, "no DSSE envelope"},
		"no signature":  {func(m map[string]any) { m["dsseEnvelope"].(map[string]any)["signatures"] = []any{} }, "with one signature"},
		"not base64":    {func(m map[string]any) { m["dsseEnvelope"].(map[string]any)["payload"] = "?" }, "payload is not base64"},
		"statement":     {replace("Statement/v1", "Statement/v9"), `of type "https://in-toto.io/Statement/v9"`},
		"predicate":     {replace("cosign/sign/v1", "slsa/v1"), "statement of another kind"},
		"another hash":  {replace(`"sha256"`, `"sha512"`), "not about one sha256 digest"},
		"short digest":  {replace("abab", ""), "not about one sha256 digest"},
		"two subjects":  {replace(`"subject":[`, `"subject":[{"digest":{}},`), "not about one sha256 digest"},
		"more behind":   {payload(func(s string) string { return s + "{}" }), "something follows its statement"},
		"not statement": {payload(func(string) string { return "x" }), "is not JSON"},
	} {
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		c.change(m)
		changed, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(changed); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for _, text := range []string{"", "x", strings.Repeat(" ", maxBytes+1)} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%.10q was read", text)
		}
	}
}

// TestStoredKeys reads keys that cosign and openssl wrote, and our own.
func TestStoredKeys(t *testing.T) {
	for _, name := range []string{"made", "openssl"} {
		private, err := os.ReadFile("testdata/" + name + ".key")
		if err != nil {
			t.Fatal(err)
		}
		public, err := os.ReadFile("testdata/" + name + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		k, err := ParsePrivateKey(private, secret)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParsePublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		if k.Public().ID() != p.ID() || !bytes.Equal(p.PEM(), public) {
			t.Errorf("%s: key %s, public key %s", name, k.Public().ID(), p.ID())
		}
		if _, err := ParsePrivateKey(private, func() ([]byte, error) { return []byte("guess"), nil }); !errors.Is(err, ErrPassphrase) {
			t.Errorf("%s with a wrong passphrase: %v", name, err)
		}
	}
	for _, a := range []Algorithm{ECDSA, Ed25519} {
		k := generate(t, a)
		text, err := k.Encrypt([]byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParsePrivateKey(text, secret)
		if err != nil || again.Public().ID() != k.Public().ID() || !strings.HasPrefix(string(text), "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----") {
			t.Errorf("%s: %v", a, err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(k.signer())
		if err != nil {
			t.Fatal(err)
		}
		asked := func() ([]byte, error) { return nil, errors.New("asked") }
		if plain, err := ParsePrivateKey(pem.EncodeToMemory(&pem.Block{Type: plainBlock, Bytes: der}), asked); err != nil || plain.Public().ID() != k.Public().ID() {
			t.Errorf("%s in plain: %v", a, err)
		}
		if _, err := ParsePrivateKey(text, asked); err == nil || err.Error() != "asked" {
			t.Errorf("no passphrase: %v", err)
		}
		if _, err := k.Encrypt(nil); err == nil {
			t.Error("a key was stored without a passphrase")
		}
		for _, printed := range []string{fmt.Sprint(k), fmt.Sprintf("%+v %#v %x", k, k, struct{ K PrivateKey }{k}), fmt.Sprint(slog.AnyValue(k).Resolve())} {
			if strings.Contains(printed, string(der)) || strings.Contains(printed, fmt.Sprintf("%x", der[len(der)-20:])) || !strings.Contains(printed, k.Public().ID()) && !strings.Contains(printed, fmt.Sprintf("%x", k.Public().ID())) {
				t.Errorf("printed %s", printed)
			}
		}
	}
}

func TestKeysThatAreNone(t *testing.T) {
	other := func(key any) []byte {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: der})
	}
	long, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := generate(t, ECDSA).Public().PEM()
	for want, text := range map[string][]byte{
		"on the curve P-384":      other(&long.PublicKey),
		"is a *rsa.PublicKey":     other(&old.PublicKey),
		"not a public key in PEM": []byte("x"),
		"follows the public key":  append(bytes.Clone(good), good...),
		"read public key":         pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: []byte("x")}),
		"want one block":          pem.EncodeToMemory(&pem.Block{Type: plainBlock}),
	} {
		if _, err := ParsePublicKey(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for want, text := range map[string][]byte{
		"this is the public key":        good,
		"not a private key in PEM":      []byte("x"),
		`a PEM block "RSA PRIVATE KEY"`: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY"}),
		"read private key":              pem.EncodeToMemory(&pem.Block{Type: plainBlock, Bytes: []byte("x")}),
		"the passphrase is wrong":       pem.EncodeToMemory(&pem.Block{Type: cosignBlocks[0], Bytes: []byte("{}")}),
	} {
		if _, err := ParsePrivateKey(text, secret); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestEnvelopeIsDSSE holds the signed bytes against the protocol's own example
// of its encoding.
func TestEnvelopeIsDSSE(t *testing.T) {
	if got := string(dsse.PAE("http://example.com/HelloWorld", []byte("hello world"))); got != "DSSEv1 29 http://example.com/HelloWorld 11 hello world" {
		t.Error(got)
	}
}

func FuzzParse(f *testing.F) {
	k, err := Generate(ECDSA)
	if err != nil {
		f.Fatal(err)
	}
	text, err := Sign(k, digest)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := Parse(text); err == nil && len(s.Digest) != len(digest) {
			t.Fatalf("%+v", s)
		}
	})
}
