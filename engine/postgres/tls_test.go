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
	return a.sign(t, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}, key.Public())
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
	for name, text := range map[string]string{"server.crt": ca.issue(t, "localhost", key), "server.key": plainKey(t, key), "ca.crt": ca.pem} {
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
	if err := server.Exec(t.Context(), "postgres", "ALTER SYSTEM SET ssl_ca_file = 'ca.crt'", "ALTER SYSTEM SET ssl = on", "CREATE DATABASE certified", "CREATE DATABASE plain"); err != nil {
		t.Fatal(err)
	}
	if err := server.SetHBA(t.Context()); err != nil { // switches TLS on, without which the lines below are refused
		t.Fatal(err)
	}
	if err := server.SetHBA(t.Context(), "hostssl certified all 127.0.0.1/32 cert", "hostnossl plain all 127.0.0.1/32 scram-sha-256",
		"hostssl postgres all 127.0.0.1/32 scram-sha-256"); err != nil {
		t.Fatal(err)
	}
	return server
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
	for name, key := range map[string]crypto.Signer{"RSA": rsaKey, "ECDSA": ecKey, "Ed25519": edKey} {
		texts := map[string]string{"plain": plainKey(t, key)}
		if name != "Ed25519" { // the library that makes the test's keys has no more
			der, err := pkcs8.MarshalPrivateKey(key, []byte(password), nil)
			if err != nil {
				t.Fatal(err)
			}
			texts["PKCS#8"] = pemText("ENCRYPTED PRIVATE KEY", der)
		}
		if name == "RSA" {
			//nolint:staticcheck // the form that is read
			block, err := x509.EncryptPEMBlock(rand.Reader, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), []byte(password), x509.PEMCipherAES256)
			if err != nil {
				t.Fatal(err)
			}
			texts["RFC 1423"] = string(pem.EncodeToMemory(block))
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
				cfg.TLS.ClientKeyPassword = "wr0ng-pass"
				wantError(t, connectError(t, cfg, "certified"), CodeSettings, Stop, "", "wr0ng-pass", password)
			})
		}
	}
}
