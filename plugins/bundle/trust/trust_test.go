package trust

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/plugins/bundle/sign"
	"github.com/leat-etl/leat/plugins/bundle/strict"
)

var (
	digest = "sha256:" + strings.Repeat("cd", 32)
	other  = "sha256:" + strings.Repeat("ef", 32)
	today  = time.Date(2026, 6, 15, 23, 30, 0, 0, time.UTC)
)

func key(t *testing.T) sign.PrivateKey {
	t.Helper()
	k, err := sign.Generate(sign.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signed(t *testing.T, k sign.PrivateKey, digest string) []byte {
	t.Helper()
	s, err := sign.Sign(k, digest)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func day(t *testing.T, s string) (d Date) {
	t.Helper()
	if err := d.FromTOML(s); err != nil {
		t.Fatal(err)
	}
	return d
}

func store(t *testing.T, mode Mode) *Store {
	t.Helper()
	return &Store{Mode: mode, Path: filepath.Join(t.TempDir(), "leat", "trust.toml")}
}

func add(t *testing.T, s *Store, publisher string, k Key, private sign.PrivateKey) {
	t.Helper()
	if err := s.Add(publisher, k, private.Public()); err != nil {
		t.Fatal(err)
	}
}

// TestCheck judges one artifact with signatures of every kind.
func TestCheck(t *testing.T) {
	s := store(t, Require)
	old, current, next, stolen, foreign, stranger := key(t), key(t), key(t), key(t), key(t), key(t)
	add(t, s, "acme", Key{ValidUntil: day(t, "2026-06-14")}, old)
	add(t, s, "acme", Key{ValidFrom: day(t, "2026-06-15"), ValidUntil: day(t, "2026-06-15")}, current)
	add(t, s, "acme", Key{ValidFrom: day(t, "2026-06-16")}, next)
	add(t, s, "acme", Key{Revoked: "stolen in May"}, stolen)
	add(t, s, "globex", Key{}, foreign)
	for name, c := range map[string]struct {
		by     []sign.PrivateKey
		about  string
		pinned bool
		want   string
	}{
		"current":               {[]sign.PrivateKey{current}, digest, false, ""},
		"old and current":       {[]sign.PrivateKey{old, stranger, current}, digest, false, ""},
		"old":                   {[]sign.PrivateKey{old}, digest, false, "which was valid until 2026-06-14"},
		"old but pinned":        {[]sign.PrivateKey{old}, digest, true, ""},
		"not yet":               {[]sign.PrivateKey{next}, digest, false, "which is valid from 2026-06-16 on"},
		"revoked":               {[]sign.PrivateKey{stolen}, digest, false, "which is revoked: stolen in May"},
		"revoked though pinned": {[]sign.PrivateKey{stolen}, digest, true, "which is revoked: stolen in May"},
		"revoked and current":   {[]sign.PrivateKey{stolen, current}, digest, false, ""},
		"another publisher":     {[]sign.PrivateKey{foreign}, digest, false, "signed with a key of globex, not of acme"},
		"stranger":              {[]sign.PrivateKey{stranger}, digest, false, "unknown key " + stranger.Public().ID()},
		"about another":         {[]sign.PrivateKey{current}, other, false, "is about another artifact, " + other},
		"none":                  {nil, digest, false, "it has no signature"},
	} {
		subject := Subject{What: "acme/mask@1.2.0", Publisher: "acme", Digest: digest, Pinned: c.pinned}
		for _, k := range c.by {
			subject.Signatures = append(subject.Signatures, signed(t, k, c.about))
		}
		s.Mode = Require
		v, err := s.Check(subject, today)
		var refused *Error
		if c.want == "" {
			if err != nil || v.KeyID != c.by[len(c.by)-1].Public().ID() || v.Warning != "" {
				t.Errorf("%s: %+v %v", name, v, err)
			}
			continue
		}
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "acme/mask@1.2.0 is not trusted: ") || !strings.Contains(err.Error(), "leat plugin trust list") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		s.Mode = Warn
		v, err = s.Check(subject, today)
		if revoked := strings.Contains(c.want, "revoked"); revoked != (err != nil) || !revoked && !strings.Contains(v.Warning, c.want) {
			t.Errorf("%s, mode warn: %+v %v", name, v, err)
		}
		s.Mode = Off
		if v, err := s.Check(subject, today); err != nil || v != (Verdict{}) {
			t.Errorf("%s, mode off: %+v %v", name, v, err)
		}
	}
	s.Mode = Require
	if _, err := s.Check(Subject{What: "initech/x@1.0.0", Publisher: "initech", Digest: digest}, today); err == nil || !strings.Contains(err.Error(), "leat plugin trust add initech KEY.pub") {
		t.Errorf("an unknown publisher: %v", err)
	}
	attestation := `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEiLCJwcmVkaWNhdGVUeXBlIjoic2xzYSJ9","signatures":[{"sig":""}]}}`
	if _, err := s.Check(Subject{What: "x", Publisher: "acme", Digest: digest, Signatures: [][]byte{[]byte(attestation)}}, today); err == nil || !strings.Contains(err.Error(), "it has no signature") {
		t.Errorf("an attestation: %v", err)
	}
	if _, err := s.Check(Subject{What: "x", Publisher: "acme", Digest: digest, Signatures: [][]byte{[]byte("x")}}, today); err == nil || !strings.Contains(err.Error(), "read signature") {
		t.Errorf("nonsense: %v", err)
	}
}

func TestSaveAndLoad(t *testing.T) {
	s := store(t, Warn)
	a, b := key(t), key(t)
	add(t, s, "acme", Key{ValidFrom: day(t, "2026-01-01"), ValidUntil: day(t, "2026-12-31")}, a)
	add(t, s, "acme", Key{}, b)
	if err := s.Add("globex", Key{}, a.Public()); err == nil || !strings.Contains(err.Error(), "as a key of acme") {
		t.Errorf("one key for two: %v", err)
	}
	if err := s.Add("globex", Key{ValidUntil: day(t, "2026-11-30")}, a.Public()); err == nil {
		t.Error("the key of another publisher was bounded")
	}
	if err := s.Add("acme", Key{}, b.Public()); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a key that is there: %v", err)
	}
	add(t, s, "acme", Key{ValidUntil: day(t, "2026-06-30")}, a)
	if k := s.Publishers[0].Keys[0]; len(s.Publishers[0].Keys) != 2 || k.ValidFrom != day(t, "2026-01-01") || k.ValidUntil != day(t, "2026-06-30") {
		t.Errorf("bounded: %+v", s.Publishers[0].Keys)
	}
	add(t, s, "acme", Key{ValidUntil: day(t, "2026-12-31")}, a)
	if err := s.Add("Acme", Key{}, key(t).Public()); err == nil {
		t.Error("a name that is none was taken")
	}
	if _, err := s.Revoke(b.Public().ID()[:20], "lost \"it\"\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Revoke("", "all"); err == nil || !strings.Contains(err.Error(), "2 keys") {
		t.Errorf("all keys revoked: %v", err)
	}
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	got, err := Load(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Mode != Warn || len(got.Publishers) != 1 || len(got.Publishers[0].Keys) != 2 || got.Names()[0] != "acme" {
		t.Fatalf("%+v", got)
	}
	first, second := got.Publishers[0].Keys[0], got.Publishers[0].Keys[1]
	if first.Public().ID() != a.Public().ID() || first.ValidFrom.String() != "2026-01-01" || first.ValidUntil.String() != "2026-12-31" || second.Revoked != "lost  it  " || second.ValidFrom.String() != "" {
		t.Errorf("%+v %+v", first, second)
	}
}

func TestLoadWithoutFile(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	s, err := Load("")
	if err != nil || s.Mode != Require || len(s.Publishers) != 0 || !strings.HasSuffix(s.Path, "trust.toml") {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "trust.toml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a store that was named and is missing: %v", err)
	}
	if err := os.MkdirAll(filepath.Dir(s.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Path, []byte("mode = \"sometimes\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(""); err == nil || !strings.Contains(err.Error(), "want one of require, warn, off") {
		t.Error(err)
	}
}

func TestFaultsOfAStore(t *testing.T) {
	k := string(key(t).Public().PEM())
	block := func(more string) string {
		return "[[publishers]]\nname = \"acme\"\n[[publishers.keys]]\nkey = '''\n" + k + "'''\n" + more
	}
	for want, text := range map[string]string{
		`key "publishers[1].keys[1].key" is wrong: not a public key`:             "[[publishers]]\nname = \"acme\"\n[[publishers.keys]]\nkey = \"x\"\n",
		`key "publishers[1].keys[1].valid_until" is "never": want a day`:         block("valid_until = \"never\"\n"),
		`key "publishers[1].keys[1].valid_from" must be a day such as`:           block("valid_from = 2026-01-01\n"),
		`key "publishers[1].keys[1].revoke" is unknown: did you mean "revoked"?`: block("revoke = \"x\"\n"),
		`key "publishers[2].keys[1].key" is the key of acme already`:             block("") + block(""),
		`key "publishers[1].name" is "A C"`:                                      "[[publishers]]\nname = \"A C\"\n",
	} {
		_, err := Parse("trust.toml", []byte(text))
		var faults strict.Errors
		if !errors.As(err, &faults) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
