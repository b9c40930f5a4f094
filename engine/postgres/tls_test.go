package postgres

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/youmark/pkcs8"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, cert: &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}}
	a.pem = a.sign(t, a.cert, key.Public())
	return a
}

func (a *authority) sign(t *testing.T, template *x509.Certificate, key crypto.PublicKey) string {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pemText("CERTIFICATE", der)
}

// issue makes a certificate for a name, which is a server's host too.
func (a *authority) issue(t *testing.T, name string, key crypto.Signer) string {
	t.Helper()
	return a.issueUntil(t, name, key, time.Now().Add(time.Hour))
}

func (a *authority) issueUntil(t *testing.T, name string, key crypto.Signer, until time.Time) string {
	t.Helper()
	return a.sign(t, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: until.Add(-2 * time.Hour), NotAfter: until}, key.Public())
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func plainKey(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemText("PRIVATE KEY", der)
}

// secureServer has a certificate for localhost and asks the user postgres of
// the database "certified" for a client certificate.
func secureServer(t *testing.T, ca *authority) *pgserver.Server {
	t.Helper()
	server := pgserver.Own(t, pgserver.Options{})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	install(t, server, map[string]string{"server.crt": ca.issue(t, "localhost", key), "server.key": plainKey(t, key), "ca.crt": ca.pem})
	if err := server.Exec(t.Context(), "postgres", "ALTER SYSTEM SET ssl_ca_file = 'ca.crt'", "ALTER SYSTEM SET ssl = on", "CREATE DATABASE certified", "CREATE DATABASE plain"); err != nil {
		t.Fatal(err)
	}
	if err := server.SetHBA(t.Context()); err != nil { // switches TLS on, without which the lines below are refused
		t.Fatal(err)
	}
	if err := server.SetHBA(t.Context(), secureHBA...); err != nil {
		t.Fatal(err)
	}
	return server
}

var secureHBA = []string{"hostssl certified all 127.0.0.1/32 cert", "hostnossl plain all 127.0.0.1/32 scram-sha-256",
	"hostssl postgres all 127.0.0.1/32 scram-sha-256"}

// install puts files into the data folder for the server to read.
func install(t *testing.T, server *pgserver.Server, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(server.Data(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if owner, err := user.Lookup("postgres"); os.Getuid() == 0 && err == nil {
			uid, _ := strconv.Atoi(owner.Uid) // a number on every system with a root
			if err := os.Chown(path, uid, -1); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTLSModes(t *testing.T) {
	ca, other := newAuthority(t, "right"), newAuthority(t, "other")
	server := secureServer(t, ca)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte(other.pem+ca.pem), 0o600); err != nil {
		t.Fatal(err)
	}
	first := false
	for _, c := range []struct {
		name, host, database string
		tls                  TLSConfig
		code                 int
	}{
		{"disable", "localhost", "plain", TLSConfig{Mode: TLSDisable}, 0},
		{"disable where TLS is asked for", "localhost", "postgres", TLSConfig{Mode: TLSDisable}, CodeNoHBAEntry},
		{"allow goes on encrypted", "localhost", "postgres", TLSConfig{Mode: TLSAllow}, 0},
		{"prefer", "localhost", "postgres", TLSConfig{}, 0},
		{"prefer goes on plain", "localhost", "plain", TLSConfig{}, 0},
		{"require", "localhost", "postgres", TLSConfig{Mode: TLSRequire}, 0},
		{"require where plain is asked for", "localhost", "plain", TLSConfig{Mode: TLSRequire}, CodeNoHBAEntry},
		{"require checks a CA that is given", "localhost", "postgres", TLSConfig{Mode: TLSRequire, CAFile: other.pem}, CodeSettings},
		{"verify-ca", "127.0.0.1", "postgres", TLSConfig{Mode: TLSVerifyCA, CAFile: file}, 0},
		{"verify-ca, only the first CA", "127.0.0.1", "postgres", TLSConfig{Mode: TLSVerifyCA, CAFile: file, LoadAllCA: &first}, CodeSettings},
		{"verify-full", "localhost", "postgres", TLSConfig{Mode: TLSVerifyFull, CAFile: file}, 0},
		{"verify-full, another name", "127.0.0.1", "postgres", TLSConfig{Mode: TLSVerifyFull, CAFile: file}, CodeSettings},
		{"verify-full, system CAs", "localhost", "postgres", TLSConfig{Mode: TLSVerifyFull}, CodeSettings},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := configOf(server)
			cfg.Host, cfg.TLS = c.host, c.tls
			conn, err := cfg.Connect(t.Context(), c.database)
			if c.code != 0 {
				wantError(t, err, c.code, Stop, "", cfg.Password)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			if want := c.database == "postgres"; isEncrypted(conn.PgConn().Conn()) != want {
				t.Errorf("encrypted: %v", !want)
			}
		})
	}
}

func TestRequireTLSOfServerWithout(t *testing.T) {
	f := newFixture(t)
	cfg := *f.cfg
	cfg.TLS.Mode = TLSRequire
	wantError(t, connectError(t, cfg, f.database), CodeSettings, Stop, "ssl = on", cfg.Password)
}

// ed25519OfOpenSSL is a key made by
//
//	openssl genpkey -algorithm ed25519 -aes-256-cbc -pass pass:key-pass-word
//
// The library that encrypts keys for the tests cannot do it.
const ed25519OfOpenSSL = `-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiLayEV6TXP7QICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEOpe2oB+jQMYSDwYIN9/1YoEQDE+
LcEgoYwoovS6ziXEqOXhmNqg6biDpci6BJFXbQFPKgokOBUCR8KeuNOx49EW7g2i
lOZY4hLgM6exWyXxYM0=
-----END ENCRYPTED PRIVATE KEY-----
`

func fixedKey(t *testing.T, password string) crypto.Signer {
	t.Helper()
	text, err := decryptKey([]byte(ed25519OfOpenSSL), password)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(ed25519.PrivateKey)
}

func encryptedKey(t *testing.T, key crypto.Signer, password string) string {
	t.Helper()
	der, err := pkcs8.MarshalPrivateKey(key, []byte(password), nil)
	if err != nil {
		t.Fatal(err)
	}
	return pemText("ENCRYPTED PRIVATE KEY", der)
}

func legacyKey(t *testing.T, kind string, der []byte, password string) string {
	t.Helper()
	//nolint:staticcheck // the form that is read
	block, err := x509.EncryptPEMBlock(rand.Reader, kind, der, []byte(password), x509.PEMCipherAES256)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

func TestClientKeys(t *testing.T) {
	ca := newAuthority(t, "right")
	server := secureServer(t, ca)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const password = "key-pass-word"
	for name, key := range map[string]crypto.Signer{"RSA": rsaKey, "ECDSA": ecKey, "Ed25519": edKey, "Ed25519 of openssl": fixedKey(t, password)} {
		texts := map[string]string{"plain": plainKey(t, key)}
		switch name {
		case "RSA":
			der := x509.MarshalPKCS1PrivateKey(rsaKey)
			texts["PKCS#1"] = pemText("RSA PRIVATE KEY", der)
			texts["encrypted PKCS#1"] = legacyKey(t, "RSA PRIVATE KEY", der, password)
			texts["encrypted PKCS#8"] = encryptedKey(t, key, password)
		case "ECDSA":
			der, err := x509.MarshalECPrivateKey(ecKey)
			if err != nil {
				t.Fatal(err)
			}
			parameters := pemText("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})
			texts["SEC1"] = parameters + pemText("EC PRIVATE KEY", der)
			texts["encrypted SEC1"] = parameters + legacyKey(t, "EC PRIVATE KEY", der, password)
			texts["encrypted PKCS#8"] = encryptedKey(t, key, password)
		case "Ed25519 of openssl":
			texts["encrypted PKCS#8"] = ed25519OfOpenSSL
		}
		for form, text := range texts {
			t.Run(name+" "+form, func(t *testing.T) {
				cfg := *configOf(server)
				cfg.Host, cfg.Password = "localhost", ""
				cfg.TLS = TLSConfig{Mode: TLSVerifyFull, CAFile: ca.pem, ClientCertificate: ca.issue(t, "postgres", key), ClientKey: text, ClientKeyPassword: password}
				if err := connectError(t, cfg, "certified"); err != nil {
					t.Error(err)
				}
				if form == "plain" {
					cfg.TLS.ClientCertificate, cfg.TLS.ClientKey = "", ""
					wantError(t, connectError(t, cfg, "certified"), CodeAuthentication, Stop, "")
					return
				}
				if !strings.HasPrefix(form, "encrypted") {
					return
				}
				cfg.TLS.ClientKeyPassword = "wr0ng-pass"
				wantError(t, connectError(t, cfg, "certified"), CodeSettings, Stop, "", "wr0ng-pass", password)
			})
		}
	}
}
