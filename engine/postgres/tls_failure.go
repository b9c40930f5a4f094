package postgres

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

func isTLSFailure(err error) bool {
	var (
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
	)
	return errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &alert) ||
		errors.As(err, &unknown) || errors.As(err, &name) || strings.Contains(err.Error(), "server refused TLS connection") ||
		strings.Contains(err.Error(), "remote error: tls:")
}

// tlsFailure says what is wrong with the encryption or with a certificate.
func tlsFailure(err error) *Error {
	e := &Error{Code: CodeSettings, Class: Stop, Err: err}
	var (
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
	)
	text := err.Error()
	switch {
	case strings.Contains(text, "server refused TLS connection"):
		e.Causes = []string{"The server does not speak TLS."}
		e.Hint = `ssl = on in postgresql.conf, or [source.tls] mode = "prefer"`
	case errors.As(err, &name):
		e.Causes = []string{"The server's certificate is for another name than the host: " + namesOf(name.Certificate) + "."}
		e.Hint = `Set host to a name that is in the certificate, or [source.tls] mode = "verify-ca"`
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		e.Causes = []string{"The server's certificate, or that of its authority, is not valid now: it is valid from " + span(invalid.Cert) + ".", "The clock of this machine is wrong."}
		e.Hint = "Renew the certificate at the server, then SELECT pg_reload_conf();"
	case errors.As(err, &unknown):
		e.Causes = []string{"The server's certificate is signed by an authority that ca_file does not have, or, without ca_file, that this machine does not trust.",
			"load_all_ca_certificates = false left out the authority."}
		e.Hint = `[source.tls] ca_file = "..." with the certificate of the authority (ssl_ca_file, or root.crt, of the server)`
	case strings.Contains(text, "certificate required"), strings.Contains(text, "bad certificate"), strings.Contains(text, "unknown certificate authority"),
		strings.Contains(text, "expired certificate"), strings.Contains(text, "revoked certificate"):
		e.Causes = []string{"The server does not accept the client certificate, or there is none: another authority signed it, or it has expired."}
		e.Hint = `[source.tls] client_certificate = "..." and client_key = "..." signed by the authority of the server's ssl_ca_file`
	default:
		e.Causes = []string{
			"The server does not speak TLS, or its certificate is not the one that the settings expect.",
			"The server asks for a client certificate.",
		}
		e.Hint = "Set [source.tls] mode and ca_file to what the server has (ssl = on in postgresql.conf)."
	}
	return e
}

// namesOf lists the hosts that a certificate is for.
func namesOf(c *x509.Certificate) string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "it names no host at all"
	}
	return strings.Join(names, ", ")
}

func span(c *x509.Certificate) string {
	return fmt.Sprintf("%s to %s", c.NotBefore.UTC().Format(time.DateTime), c.NotAfter.UTC().Format(time.DateTime))
}
