package postgres

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/youmark/pkcs8"
)

// MaxCACertificates is how many certificates of a CA file are taken.
const MaxCACertificates = 50

// build returns the TLS settings for one host. mode is not Disable.
func (t *TLSConfig) build(mode TLSMode, host string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		pool, err := t.loadCA()
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = pool
	}
	if t.ClientCertificate != "" || t.ClientKey != "" {
		cert, err := t.clientCertificate()
		if err != nil {
			return nil, err
		}
		// Sent whatever authorities the server lists, so that it says what it
		// has against it.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	cfg.ServerName = host
	switch mode {
	case TLSAllow, TLSPrefer:
		cfg.InsecureSkipVerify = true
	case TLSRequire, TLSVerifyCA:
		cfg.InsecureSkipVerify = true
		if mode == TLSVerifyCA || cfg.RootCAs != nil { // as libpq: a CA that is given is used
			cfg.VerifyConnection = verifyChain(cfg.RootCAs)
		}
	case TLSVerifyFull:
	default:
		return nil, settingsError(fmt.Errorf("TLS mode %q is not known", mode),
			"The mode is one of disable, allow, prefer, require, verify-ca, verify-full.", `mode = "verify-full"`)
	}
	return cfg, nil
}

// verifyChain checks the server's certificate against the roots, whatever
// name it carries.
func verifyChain(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, c := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		if _, err := state.PeerCertificates[0].Verify(opts); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
}

// loadCA reads the CA file. It is strict where the usual PEM readers skip: a
// certificate that is cut off or garbled would be missing in silence.
func (t *TLSConfig) loadCA() (*x509.CertPool, error) {
	text, err := readPEM(t.CAFile)
	if err != nil {
		return nil, settingsError(fmt.Errorf("read CA file: %w", err), "The CA file is missing or not readable.", "")
	}
	const fix = "Take the CA file again from where it came from; openssl storeutl -noout -text -certs FILE shows what is in it."
	all := t.LoadAllCA == nil || *t.LoadAllCA
	pool, n := x509.NewCertPool(), 0
	for {
		block, rest := pem.Decode(text)
		between := text
		if block != nil {
			between = text[:bytes.LastIndex(text[:len(text)-len(rest)], []byte("-----BEGIN "))]
		}
		if what := garbage(between); what != "" {
			return nil, settingsError(fmt.Errorf("CA file: %s before certificate %d", what, n+1), "A certificate in the file is cut off, or something else got into it.", fix)
		}
		if block == nil {
			break
		}
		n++
		if block.Type != "CERTIFICATE" {
			return nil, settingsError(fmt.Errorf("CA file: block %d is a %s", n, block.Type), "The file holds something else than certificates.", fix)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, settingsError(fmt.Errorf("CA file: certificate %d: %w", n, err), "The CA file is damaged.", fix)
		}
		if n > MaxCACertificates {
			return nil, settingsError(fmt.Errorf("the CA file holds more than %d certificates", MaxCACertificates), "It is a bundle of many authorities.",
				"Keep the authority of your server, or set load_all_ca_certificates = false to take only the first.")
		}
		pool.AddCert(cert)
		if !all {
			return pool, nil
		}
		text = rest
	}
	if n == 0 {
		return nil, settingsError(errors.New("the CA file holds no certificate"), "The CA file is not in PEM form.", "openssl x509 -inform der -in FILE -out ca.pem")
	}
	return pool, nil
}

// garbage says what in the text between two certificates is no comment: the
// rest of a block, or bytes that are no text. It is empty for a comment.
func garbage(text []byte) string {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		switch {
		case bytes.HasPrefix(line, []byte("-----")) && !bytes.Equal(bytes.Trim(line, "-"), nil):
			return "a block that is not whole"
		case len(line) >= 60 && !bytes.ContainsFunc(line, func(r rune) bool { return !strings.ContainsRune(base64Letters, r) }):
			return "a part of a block"
		case !utf8.Valid(line) || bytes.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }):
			return "bytes that are no text"
		}
	}
	return ""
}

const base64Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

func (t *TLSConfig) clientCertificate() (tls.Certificate, error) {
	fail := func(err error, cause string) (tls.Certificate, error) {
		return tls.Certificate{}, settingsError(err, cause, "")
	}
	if t.ClientCertificate == "" || t.ClientKey == "" {
		return fail(errors.New("a client certificate needs its key, and a key its certificate"), "Only one of client_certificate and client_key is set.")
	}
	cert, err := readPEM(t.ClientCertificate)
	if err != nil {
		return fail(fmt.Errorf("read client certificate: %w", err), "The file is missing or not readable.")
	}
	key, err := readPEM(t.ClientKey)
	if err != nil {
		return fail(fmt.Errorf("read client key: %w", err), "The file is missing or not readable.")
	}
	if key, err = decryptKey(key, t.ClientKeyPassword); err != nil {
		return fail(fmt.Errorf("decrypt client key: %w", err), "client_key_password is missing or wrong.")
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, settingsError(fmt.Errorf("load client certificate: %w", err), "The certificate and the key do not belong together, or one is not in PEM form.",
			"These print the same public key where they do: openssl x509 -noout -pubkey -in CERTIFICATE; openssl pkey -pubout -in KEY")
	}
	if until := pair.Leaf.NotAfter; time.Now().After(until) {
		return fail(fmt.Errorf("the client certificate expired on %s", until.UTC().Format(time.DateTime)), "It has to be issued again; or the clock of this machine is wrong.")
	}
	return pair, nil
}

// decryptKey returns an unencrypted PEM key: PKCS#8 (openssl's default) and
// the older RFC 1423 form are decrypted, a plain key passes.
func decryptKey(text []byte, password string) ([]byte, error) {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return text, nil
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" {
			key, _, err := pkcs8.ParsePrivateKey(block.Bytes, []byte(password))
			if err != nil {
				return nil, errors.New("password does not fit or the cipher is not known")
			}
			der, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				return nil, err
			}
			return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
		}
		if strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			//nolint:staticcheck // files in this form exist; it is deprecated for what it protects, not for reading
			der, err := x509.DecryptPEMBlock(block, []byte(password))
			if err != nil {
				return nil, errors.New("password does not fit")
			}
			return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), nil
		}
	}
}

// readPEM returns PEM text as it is and reads a file otherwise.
func readPEM(pathOrText string) ([]byte, error) {
	if strings.Contains(pathOrText, "-----BEGIN ") {
		return []byte(pathOrText), nil
	}
	return os.ReadFile(pathOrText)
}
