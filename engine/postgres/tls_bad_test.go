package postgres

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestCAFiles reads files of every quality. That what is read also counts is
// shown by TestManyAuthorities.
func TestCAFiles(t *testing.T) {
	ca := newAuthority(t, "one").pem
	many := strings.Repeat(ca, MaxCACertificates)
	first := false
	halved := ca[:len(ca)/2]
	for _, c := range []struct {
		name, text, fault string
		all               *bool
	}{
		{"comments", "# the first\n=====\nIssuer: ümlaut\n" + ca + "\n\n-----\nthe second\n" + ca + "the end\n", "", nil},
		{"as many as there may be", many, "", nil},
		{"one more", many + ca, "more than 50 certificates", nil},
		{"one more, of which the first is wanted", many + ca, "", &first},
		{"cut off", ca + halved, "a block that is not whole before certificate 2", nil},
		{"cut off in the middle", ca + halved + "\n" + ca, "a block that is not whole before certificate 2", nil},
		{"cut off, after the wanted one", ca + halved, "", &first},
		{"without its first line", ca + ca[strings.Index(ca, "\n")+1:], "a part of a block before certificate 2", nil},
		{"binary", ca + ca + "\x00\x01\xff\n" + ca, "bytes that are no text before certificate 3", nil},
		{"not UTF-8", "caf\xe9\n" + ca, "bytes that are no text before certificate 1", nil},
		{"garbled", ca + strings.Replace(ca, "MII", "MIA", 1), "certificate 2: x509", nil},
		{"a key", ca + pemText("PRIVATE KEY", []byte("s3cret-word")), "block 2 is a PRIVATE KEY", nil},
		{"empty", "-----BEGIN nothing", "a block that is not whole", nil},
		{"no block", "# -----BEGIN later", "no certificate", nil},
	} {
		cfg := TLSConfig{CAFile: c.text, LoadAllCA: c.all}
		_, err := cfg.loadCA()
		switch {
		case c.fault == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.fault != "":
			wantError(t, err, CodeSettings, Stop, "", "s3cret-word")
			if err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: %v, want %q", c.name, err, c.fault)
			}
		}
	}
}

// TestManyAuthorities: the last of 50 authorities counts, unless only the
// first is to be taken.
func TestManyAuthorities(t *testing.T) {
	ca := newAuthority(t, "right")
	server := secureServer(t, ca)
	var file strings.Builder
	for n := range MaxCACertificates - 1 {
		file.WriteString(newAuthority(t, fmt.Sprint("other ", n)).pem)
	}
	file.WriteString(ca.pem)
	cfg := *configOf(server)
	cfg.Host, cfg.TLS = "localhost", TLSConfig{Mode: TLSVerifyFull, CAFile: file.String()}
	if err := connectError(t, cfg, "postgres"); err != nil {
		t.Error(err)
	}
	first := false
	cfg.TLS.LoadAllCA = &first
	wantError(t, connectError(t, cfg, "postgres"), CodeSettings, Stop, "ca_file", cfg.Password)
}

// TestBadCertificates meets certificates that have expired, are for another
// host, or do not fit their key, on either side.
func TestBadCertificates(t *testing.T) {
	ca := newAuthority(t, "right")
	server := secureServer(t, ca)
	cfg := *configOf(server)
	cfg.Host, cfg.TLS = "localhost", TLSConfig{Mode: TLSVerifyFull, CAFile: ca.pem}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wantCause := func(database, cause, hint string) {
		t.Helper()
		err := connectError(t, cfg, database)
		wantError(t, err, CodeSettings, Stop, hint, cfg.Password)
		if err != nil && !strings.Contains(strings.Join(Classify(err).Causes, " "), cause) && !strings.Contains(err.Error(), cause) {
			t.Errorf("causes %q of %v, want %q", Classify(err).Causes, err, cause)
		}
	}
	serve := func(certificate string) {
		t.Helper()
		install(t, server, map[string]string{"server.crt": certificate, "server.key": plainKey(t, key)})
		if err := server.SetHBA(t.Context(), secureHBA...); err != nil {
			t.Fatal(err)
		}
	}
	serve(ca.issueUntil(t, "localhost", key, time.Now().Add(-time.Minute)))
	wantCause("postgres", "it is valid from", "Renew the certificate")
	serve(ca.issue(t, "db.internal", key))
	wantCause("postgres", "another name than the host: db.internal", "verify-ca")
	serve(newAuthority(t, "other").issue(t, "localhost", key))
	wantCause("postgres", "an authority that ca_file does not have", "ca_file")
	serve(ca.issue(t, "localhost", key))
	if err := connectError(t, cfg, "postgres"); err != nil {
		t.Error(err)
	}

	cfg.TLS.ClientKey, cfg.TLS.ClientCertificate = plainKey(t, keyPairs(t)["ECDSA"]), ca.issue(t, "postgres", key)
	wantCause("certified", "do not belong together", "openssl x509")
	cfg.TLS.ClientKey, cfg.TLS.ClientCertificate = plainKey(t, key), ca.issueUntil(t, "postgres", key, time.Now().Add(-time.Minute))
	wantCause("certified", "expired on", "")
	cfg.TLS.ClientCertificate = newAuthority(t, "other").issue(t, "postgres", key)
	wantCause("certified", "does not accept the client certificate", "client_certificate")
	cfg.TLS.ClientCertificate = "no PEM"
	wantCause("certified", "missing or not readable", "")
}
