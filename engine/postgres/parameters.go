package postgres

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgservicefile"
)

// parameters are connection parameters by the names of libpq, as a connection
// string or a service file gives them.
type parameters map[string]string

// parameterNames are the parameters that Leat goes by. What else a service file
// or a connection string sets is refused: passing over channel_binding, say,
// would connect with less safety than its author asked for.
var parameterNames = []string{"host", "port", "user", "password", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword",
	"target_session_attrs", "application_name", "connect_timeout"}

// passedOver are parameters that change nothing that Leat does.
var passedOver = []string{"service", "fallback_application_name", "client_encoding", "gssencmode", "keepalives", "keepalives_idle",
	"keepalives_interval", "keepalives_count", "tcp_user_timeout", "sslcompression", "sslsni"}

// check refuses parameters that Leat does not go by.
func (p parameters) check(where string) error {
	for name := range p {
		if !slices.Contains(parameterNames, name) && !slices.Contains(passedOver, name) {
			return settingsError(fmt.Errorf("%s sets %s", where, name), "Leat does not know this parameter, and passing over it might connect in another way than was meant.",
				"Take it out; known are "+strings.Join(parameterNames, ", ")+".")
		}
	}
	return nil
}

// over lays p over others: what p does not set comes from the first of them
// that does.
func (p parameters) over(others ...parameters) parameters {
	out := parameters{}
	for _, from := range append([]parameters{p}, others...) {
		for name, value := range from {
			if _, set := out[name]; !set {
				out[name] = value
			}
		}
	}
	return out
}

// config reads the parameters, of which none has to be set.
func (p parameters) config() (*Config, error) {
	cfg := &Config{User: p["user"], Password: p["password"], ApplicationName: p["application_name"], Target: Target(p["target_session_attrs"])}
	cfg.TLS = TLSConfig{Mode: TLSMode(p["sslmode"]), CAFile: p["sslrootcert"], ClientCertificate: p["sslcert"], ClientKey: p["sslkey"], ClientKeyPassword: p["sslpassword"]}
	if cfg.TLS.CAFile == "system" {
		cfg.TLS.CAFile = ""
	}
	if text := p["connect_timeout"]; text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil {
			return nil, settingsError(fmt.Errorf("connect_timeout %q is not a number of seconds", text), "The parameter is malformed.", "connect_timeout=10")
		}
		cfg.ConnectTimeout = time.Duration(seconds) * time.Second
	}
	addresses, err := parseAddresses(p["host"], p["port"])
	if err != nil {
		return nil, err
	}
	if len(addresses) > 0 {
		cfg.Host, cfg.Port, cfg.Others = addresses[0].Host, addresses[0].Port, addresses[1:]
	}
	return cfg, nil
}

// parseAddresses pairs the hosts of a list with the ports of another, which is
// as long or holds one for all.
func parseAddresses(hosts, ports string) ([]Address, error) {
	var out []Address
	if hosts == "" && ports == "" {
		return nil, nil
	}
	host, port := strings.Split(hosts, ","), strings.Split(ports, ",")
	if len(port) > 1 && len(port) != len(host) {
		return nil, settingsError(fmt.Errorf("%d ports for %d hosts", len(port), len(host)), "Each host has a port, or all have one.", "port=5432,5433")
	}
	for i, name := range host {
		a := Address{Host: strings.TrimSpace(name)}
		text := port[0]
		if len(port) > 1 {
			text = port[i]
		}
		if text = strings.TrimSpace(text); text != "" {
			n, err := strconv.ParseUint(text, 10, 16)
			if err != nil || n == 0 {
				return nil, settingsError(fmt.Errorf("port %q is not a number from 1 to 65535", text), "The port is malformed.", "port = 5432")
			}
			a.Port = uint16(n)
		}
		out = append(out, a)
	}
	return out, nil
}

// ParseAddress reads host, host:port, [IPv6]:port or the folder of a Unix
// socket.
func ParseAddress(text string) (Address, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil || strings.HasPrefix(text, "/") {
		return Address{Host: strings.Trim(text, "[]")}, nil
	}
	list, err := parseAddresses(host, port)
	if err != nil {
		return Address{}, err
	}
	return list[0], nil
}

// FromService takes what c does not set from a section of the user's or the
// system's service file, as libpq's service does. The database is not taken.
func (c *Config) FromService(name string) error {
	found, err := readService(name)
	if err != nil {
		return err
	}
	from, err := found.config()
	if err != nil {
		return err
	}
	if c.Host == "" {
		c.Host, c.Others = from.Host, from.Others
		if c.Port == 0 {
			c.Port = from.Port
		}
	}
	if c.Target == "" {
		c.Target = from.Target
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = from.ConnectTimeout
	}
	for _, setting := range []struct {
		to   *string
		from string
	}{{&c.User, from.User}, {&c.Password, from.Password}, {&c.ApplicationName, from.ApplicationName}, {&c.TLS.CAFile, from.TLS.CAFile}} {
		if *setting.to == "" {
			*setting.to = setting.from
		}
	}
	if c.TLS.Mode == "" {
		c.TLS.Mode = from.TLS.Mode
	}
	if c.TLS.ClientCertificate == "" && c.TLS.ClientKey == "" {
		c.TLS.ClientCertificate, c.TLS.ClientKey, c.TLS.ClientKeyPassword = from.TLS.ClientCertificate, from.TLS.ClientKey, from.TLS.ClientKeyPassword
	}
	return nil
}

// serviceFiles are the places of service files, the first that has the section
// wins.
func serviceFiles() []string {
	var out []string
	if path := os.Getenv("PGSERVICEFILE"); path != "" {
		out = append(out, path)
	} else if home, err := os.UserHomeDir(); err == nil {
		out = append(out, filepath.Join(home, ".pg_service.conf"))
	}
	folder := os.Getenv("PGSYSCONFDIR")
	if folder == "" {
		folder = "/etc/postgresql-common"
	}
	return append(out, filepath.Join(folder, "pg_service.conf"))
}

func readService(name string) (parameters, error) {
	files := serviceFiles()
	for _, path := range files {
		file, err := pgservicefile.ReadServicefile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, settingsError(fmt.Errorf("read service file %s: it is not readable or malformed", path), // the error may quote a password
				"A line is neither [section] nor name=value.", "")
		}
		service, err := file.GetService(name)
		if err != nil {
			continue // the next file may have it
		}
		found := parameters(service.Settings)
		return found, found.check(fmt.Sprintf("service %q of %s", name, path))
	}
	return nil, settingsError(fmt.Errorf("service %q stands in none of %s", name, strings.Join(files, ", ")),
		"The name is wrong, or the file lies elsewhere.", fmt.Sprintf("[%s]\nhost=db.example.com\nuser=leat", name))
}

// environment are the parameters that libpq's variables set.
func environment() parameters {
	out := parameters{}
	for name, variable := range map[string]string{"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE",
		"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslpassword": "PGSSLPASSWORD",
		"target_session_attrs": "PGTARGETSESSIONATTRS", "service": "PGSERVICE"} {
		if value := os.Getenv(variable); value != "" {
			out[name] = value
		}
	}
	return out
}

// usual are the parameters that libpq takes where nothing sets them.
func usual() parameters {
	out := parameters{"host": "localhost", "port": strconv.Itoa(DefaultPort)}
	for _, folder := range []string{"/var/run/postgresql", "/tmp"} {
		if _, err := os.Stat(filepath.Join(folder, ".s.PGSQL."+out["port"])); err == nil {
			out["host"] = folder
			break
		}
	}
	if me, err := user.Current(); err == nil {
		out["user"] = me.Username
	}
	return out
}
