package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/leat-etl/leat/engine/postgres"
)

// sshFlags are the flags of an SSH tunnel.
type sshFlags struct{ server, key, knownHosts string }

// sshPassphraseVariable has the passphrase of an SSH key.
const sshPassphraseVariable = "SSH_KEY_PASSPHRASE"

// config returns the tunnel that the flags describe, nil for none.
func (f sshFlags) config() (*postgres.SSHConfig, error) {
	if f.server == "" {
		if f.key != "" || f.knownHosts != "" {
			return nil, errUsage{errors.New("--ssh-key and --ssh-known-hosts need --ssh USER@HOST")}
		}
		return nil, nil
	}
	user, host, ok := strings.Cut(f.server, "@")
	if !ok || user == "" || host == "" {
		return nil, errUsage{fmt.Errorf("--ssh %s: want USER@HOST or USER@HOST:PORT", f.server)}
	}
	address, err := postgres.ParseAddress(host)
	if err != nil {
		return nil, err
	}
	c := &postgres.SSHConfig{Host: address.Host, Port: address.Port, User: user, KeyFile: f.key, KnownHosts: f.knownHosts}
	if f.key != "" {
		c.KeyPassphrase = os.Getenv(sshPassphraseVariable)
	}
	return c, nil
}

// sourceSection is the beginning of a pipeline file. Passwords are never
// written, and what a service gives is left to it.
func sourceSection(d *postgres.DSN, tunnel *postgres.SSHConfig) (string, error) {
	var from postgres.Config
	if d.Service != "" {
		if err := from.FromService(d.Service); err != nil {
			return "", err
		}
	}
	var s strings.Builder
	fmt.Fprintf(&s, "name = %s\n\n[source]\ntype = \"postgres\"\n", quoted(d.Database))
	set := func(key, value, known string) {
		if value != "" && value != known {
			fmt.Fprintf(&s, "%s = %s\n", key, quoted(value))
		}
	}
	set("service", d.Service, "")
	switch {
	case d.Service != "" && d.Host == from.Host && d.Port == from.Port:
	case len(d.Others) > 0:
		hosts := []string{quoted(postgres.Address{Host: d.Host, Port: d.Port}.String())}
		for _, a := range d.Others {
			hosts = append(hosts, quoted(a.String()))
		}
		fmt.Fprintf(&s, "hosts = [%s]\n", strings.Join(hosts, ", "))
	default:
		fmt.Fprintf(&s, "host = %s\nport = %d\n", quoted(d.Host), d.Port)
	}
	set("target_session_attrs", string(d.Target), string(from.Target))
	set("user", d.User, from.User)
	switch {
	case d.Password == "":
		s.WriteString("# The password file has the password, or the server asks for none.\n")
	case d.Password != from.Password:
		s.WriteString("password = { env = \"PGPASSWORD\" }\n")
	}
	set("database", d.Database, "")
	tls := s.Len()
	set("mode", string(d.TLS.Mode), string(from.TLS.Mode))
	for _, file := range []struct{ key, path, known string }{{"ca_file", d.TLS.CAFile, from.TLS.CAFile},
		{"client_certificate", d.TLS.ClientCertificate, from.TLS.ClientCertificate}, {"client_key", d.TLS.ClientKey, from.TLS.ClientKey}} {
		set(file.key, besides(file.path), besides(file.known))
	}
	if d.TLS.ClientKeyPassword != from.TLS.ClientKeyPassword {
		s.WriteString("client_key_password = { env = \"PGSSLPASSWORD\" }\n")
	}
	text := s.String()
	if len(text) > tls {
		text = text[:tls] + "\n[source.tls]\n" + text[tls:]
	}
	return text + sshSection(tunnel), nil
}

func sshSection(c *postgres.SSHConfig) string {
	if c == nil {
		return ""
	}
	var s strings.Builder
	fmt.Fprintf(&s, "\n[source.ssh]\nhost = %s\n", quoted(c.Host))
	if c.Port != 0 {
		fmt.Fprintf(&s, "port = %d\n", c.Port)
	}
	fmt.Fprintf(&s, "user = %s\n", quoted(c.User))
	if c.KeyFile != "" {
		fmt.Fprintf(&s, "key_file = %s\n", quoted(besides(c.KeyFile)))
	}
	if c.KeyPassphrase != "" {
		fmt.Fprintf(&s, "key_passphrase = { env = %s }\n", quoted(sshPassphraseVariable))
	}
	if c.KnownHosts != "" {
		fmt.Fprintf(&s, "known_hosts = %s\n", quoted(besides(c.KnownHosts)))
	}
	return s.String()
}

// besides makes a path hold in a pipeline file that lies elsewhere.
func besides(path string) string {
	if abs, err := filepath.Abs(path); err == nil && path != "" {
		return abs
	}
	return path
}
