package postgres

import (
	"errors"
	"net/url"
	"strings"
)

// DSN is a connection string as it was read.
type DSN struct {
	Config
	// Service is the section of a service file that it names, which is part of
	// Config already.
	Service  string
	Database string
}

// ParseDSN reads a connection string, postgres://user@host/database or
// keyword=value pairs, with what the service file and the libpq environment
// variables add.
func ParseDSN(dsn string) (*DSN, error) {
	given, err := parseDSN(dsn)
	if err != nil {
		return nil, settingsError(errors.New("the connection string is not valid"), // err may quote a password
			"It has the form postgres://user@host:port/database.", "leat init postgres://leat@db.example.com:5432/shop")
	}
	if err := given.check("the connection string"); err != nil {
		return nil, err
	}
	all := given.over(environment())
	service := all["service"]
	if service != "" {
		found, err := readService(service)
		if err != nil {
			return nil, err
		}
		all = given.over(found, environment())
	}
	all = all.over(usual())
	if all["dbname"] == "" {
		all["dbname"] = all["user"]
	}
	cfg, err := all.config()
	if err != nil {
		return nil, err
	}
	cfg.Databases = []string{all["dbname"]}
	return &DSN{*cfg, service, all["dbname"]}, cfg.validate(all["dbname"])
}

var errDSN = errors.New("not a connection string")

func parseDSN(dsn string) (parameters, error) {
	for _, scheme := range []string{"postgres://", "postgresql://"} {
		if rest, ok := strings.CutPrefix(dsn, scheme); ok {
			return parseURL(rest)
		}
	}
	return parseKeywords(dsn)
}

// parseURL reads what follows the scheme. It does not leave that to net/url,
// which knows one host only.
func parseURL(rest string) (parameters, error) {
	out := parameters{}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(path, "/") { // postgres://user@http://host
		return nil, errDSN
	}
	for name := range values {
		out[name] = values.Get(name)
	}
	texts := map[string]string{"dbname": path}
	hosts := authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		hosts = authority[at+1:]
		texts["user"], texts["password"], _ = strings.Cut(authority[:at], ":")
	}
	for name, text := range texts {
		if text == "" {
			continue
		}
		if out[name], err = url.PathUnescape(text); err != nil {
			return nil, err
		}
	}
	if hosts == "" {
		return out, nil
	}
	var names, ports []string
	for host := range strings.SplitSeq(hosts, ",") {
		port := ""
		if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
			host, port = host[:i], host[i+1:]
		}
		if host, err = url.PathUnescape(strings.Trim(host, "[]")); err != nil {
			return nil, err
		}
		names, ports = append(names, host), append(ports, port)
	}
	if out["host"] == "" {
		out["host"] = strings.Join(names, ",")
	}
	if list := strings.Join(ports, ","); strings.Trim(list, ",") != "" {
		out["port"] = list
	}
	return out, nil
}

// parseKeywords reads name = value pairs. A value in single quotes may hold
// spaces; a backslash takes the character after it literally.
func parseKeywords(text string) (parameters, error) {
	out := parameters{}
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimSpace(rest) {
		name, after, ok := strings.Cut(rest, "=")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name, " \t\n'") {
			return nil, errDSN
		}
		after = strings.TrimSpace(after)
		quoted := strings.HasPrefix(after, "'")
		if quoted {
			after = after[1:]
		}
		var value strings.Builder
		i, closed := 0, !quoted
	scan:
		for ; i < len(after); i++ {
			switch c := after[i]; {
			case c == '\\' && i+1 < len(after):
				i++
				value.WriteByte(after[i])
			case quoted && c == '\'':
				i, closed = i+1, true
				break scan
			case !quoted && strings.IndexByte(" \t\n", c) >= 0:
				break scan
			default:
				value.WriteByte(c)
			}
		}
		if !closed {
			return nil, errDSN
		}
		out[name], rest = value.String(), after[i:]
	}
	return out, nil
}
