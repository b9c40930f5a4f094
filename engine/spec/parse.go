package spec

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/leat-etl/leat/plugins/bundle/strict"
)

// Error is one fault of a pipeline file, Errors are all of them.
type (
	Error  = strict.Error
	Errors = strict.Errors
)

// Load reads and checks a pipeline file.
func Load(path string) (*Spec, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read pipeline file: %w", err)
	}
	return Parse(path, text)
}

// Parse checks the text of a pipeline file. name is its path, for errors and
// for the files that it names; it need not exist. Faults of the text are
// returned together, as Errors.
func Parse(name string, text []byte) (*Spec, error) {
	s := &Spec{Path: name, Dir: filepath.Dir(name)}
	doc, err := strict.Decode(name, text, s)
	if err != nil {
		return nil, err
	}
	s.place = doc.Place
	s.inQuery = func(char int) (line, column int) {
		at := strict.Path{"source", "query"}
		if char == 0 {
			return doc.Place(at)
		}
		return doc.InText(at, char)
	}
	c := &check{doc, s}
	c.name()
	c.hosts()
	c.databases()
	c.source()
	c.modes()
	c.files()
	c.warnings()
	if err := doc.Err(); err != nil {
		return nil, err
	}
	if s.Engine.StateDir == "" {
		s.Engine.StateDir = filepath.Join(s.Dir, ".leat", folderName(s.Name))
	} else {
		s.Engine.StateDir = beside(s.Dir, s.Engine.StateDir)
	}
	return s, nil
}

// Place says where a key stands in the file, given as file:line:column, or what is
// nearest above it.
func (s *Spec) Place(path strict.Path) string {
	line, column := s.place(path)
	return fmt.Sprintf("%s:%d:%d", s.Path, line, column)
}

// folderName turns a pipeline's name into that of a folder.
func folderName(name string) string {
	escaped := url.PathEscape(name)
	if strings.HasPrefix(escaped, ".") {
		escaped = "%2E" + escaped[1:]
	}
	// File systems allow 255 bytes; the end of a longer name is kept out of
	// the folder's name, and the folder itself refuses another pipeline.
	return escaped[:min(len(escaped), 200)]
}

// beside makes a path that a file names relative to that file's folder, or to
// the user's where it starts with ~/. A PEM text in the place of a path stays
// as it is.
func beside(dir, path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if path == "" || filepath.IsAbs(path) || strings.HasPrefix(path, "-----BEGIN ") {
		return path
	}
	return filepath.Join(dir, path)
}

// check holds what single keys cannot say about themselves.
type check struct {
	*strict.Document
	s *Spec
}

func (c *check) name() {
	if strings.IndexFunc(c.s.Name, unicode.IsControl) >= 0 {
		c.Fault(strict.Path{"name"}, "contains a control character")
	}
}

// hosts looks at the servers, and at what a service may give instead.
func (c *check) hosts() {
	src := strict.Path{"source"}
	one, many := src.Key("host"), src.Key("hosts")
	service := c.s.Source.Service != ""
	switch {
	case c.Has(one) && c.Has(many):
		c.Fault(many, "stands beside host: give one of the two")
	case c.Has(one) && c.s.Source.Host == "":
		c.Fault(one, "is empty")
	case c.Has(many) && len(c.s.Source.Hosts) == 0:
		c.Fault(many, "names no host")
	case !c.Has(one) && !c.Has(many) && !service && c.Has(src):
		c.Fault(one, "is missing: name the server, several with hosts = [...], or a service")
	}
	if c.s.Source.User == "" && !service && c.Has(src) {
		c.Fault(src.Key("user"), "is missing: name the role that logs in")
	}
	if service { // what the file leaves out is the service's
		if !c.Has(src.Key("port")) {
			c.s.Source.Port = 0
		}
		if !c.Has(src.Key("tls").Key("mode")) {
			c.s.Source.TLS.Mode = ""
		}
	}
	c.host(one, c.s.Source.Host, false)
	for i, host := range c.s.Source.Hosts {
		c.host(many.Index(i), host, true)
	}
	if c.s.Source.SSH.Host != "" {
		c.host(src.Key("ssh").Key("host"), c.s.Source.SSH.Host, false)
	}
}

// host looks at one host; withPort says that it may name its port.
func (c *check) host(p strict.Path, host string, withPort bool) {
	for _, scheme := range []string{"http://", "https://"} {
		if rest, ok := strings.CutPrefix(strings.ToLower(host), scheme); ok {
			c.Fault(p, "starts with %s: PostgreSQL does not speak HTTP; write the host alone, %q", scheme, strings.TrimRight(rest, "/"))
			return
		}
	}
	if strings.Contains(host, "://") {
		c.Fault(p, "is a URL: write the host alone, and port, user and database in keys of their own")
		return
	}
	if strings.Contains(host, ",") {
		c.Fault(p, "names several hosts: write hosts = [\"%s\"]", strings.Join(strings.Split(host, ","), "\", \""))
		return
	}
	if h, port, err := net.SplitHostPort(host); err == nil && h != "" && !strings.HasPrefix(host, "/") {
		if n, err := strconv.Atoi(port); withPort && (err != nil || n < 1 || n > 65535) {
			c.Fault(p, "ends with port %q: want 1 to 65535", port)
		} else if !withPort {
			c.Fault(p, "contains a port: write host = %q and port = %s", h, port)
		}
		return
	}
	if strings.ContainsFunc(host, unicode.IsSpace) {
		c.Fault(p, "contains white space")
	} else if host == "" && withPort {
		c.Fault(p, "is empty")
	}
}

func (c *check) databases() {
	one, many := strict.Path{"source", "database"}, strict.Path{"source", "databases"}
	switch {
	case c.Has(one) && c.Has(many):
		c.Fault(many, "stands beside database: give one of the two")
	case c.Has(one) && c.s.Source.Database != "":
		c.s.Source.Databases = []string{c.s.Source.Database}
	case c.Has(one):
		c.Fault(one, "is empty")
	case c.Has(many) && len(c.s.Source.Databases) == 0:
		c.Fault(many, "names no database")
	case !c.Has(many) && c.Has(strict.Path{"source"}):
		c.Fault(one, "is missing: name the database to replicate, or several with databases = [...]")
	}
	for i, name := range c.s.Source.Databases {
		if name == "" {
			c.Fault(many.Index(i), "is empty")
		} else if len(name) > 63 {
			c.Fault(many.Index(i), "has %d bytes: PostgreSQL allows 63", len(name))
		} else if slices.Index(c.s.Source.Databases, name) < i {
			c.Fault(many.Index(i), "is %q once more", name)
		}
	}
}

var slotName = regexp.MustCompile(`^[a-z0-9_]+$`)

func (c *check) source() {
	if slot := c.s.Source.Slot; slot != "" && !slotName.MatchString(slot) {
		c.Fault(strict.Path{"source", "slot"}, "is %q: PostgreSQL allows lower-case letters, digits and underscores", slot)
	}
	c.tableName()
	c.messages()
	c.capture()
	tls, p := c.s.Source.TLS, strict.Path{"source", "tls"}
	switch {
	case tls.ClientKey != "" && tls.ClientCertificate == "":
		c.Fault(p.Key("client_key"), "needs client_certificate beside it")
	case tls.ClientCertificate != "" && tls.ClientKey == "":
		c.Fault(p.Key("client_certificate"), "needs client_key beside it")
	case tls.ClientKeyPassword.IsSet() && tls.ClientKey == "":
		c.Fault(p.Key("client_key_password"), "needs client_key beside it")
	}
	c.ssh()
	if listen := c.s.Metrics.Listen; listen != "" {
		if _, _, err := net.SplitHostPort(listen); err != nil {
			c.Fault(strict.Path{"metrics", "listen"}, "is %q: want host:port, for example 127.0.0.1:9187", listen)
		}
	}
}

// messages checks the prefixes of logical messages.
func (c *check) messages() {
	src, p := c.s.Source, strict.Path{"source", "messages"}
	if len(src.Messages) == 0 {
		return
	}
	if src.Mode != ModeLogical {
		c.Fault(p, `needs mode = "logical": queries find no messages`)
	} else if src.Decoder != "pgoutput" {
		c.Fault(p, `needs decoder = "pgoutput"`)
	}
	for _, prefix := range src.Messages {
		if begin, _ := strings.CutSuffix(prefix, "*"); prefix == "" || strings.Contains(begin, "*") {
			c.Fault(p, "has %q: want a prefix, or its beginning and one star at the end", prefix)
		}
	}
}

// capture checks that the log can have what DDL capture writes.
func (c *check) capture() {
	src, p := c.s.Source, strict.Path{"source", "ddl_capture"}
	if !src.DDLCapture {
		return
	}
	if src.Mode != ModeLogical {
		c.Fault(p, `needs mode = "logical": queries find no change of a table but in its columns`)
	} else if src.Decoder != "pgoutput" {
		c.Fault(p, `needs decoder = "pgoutput"`)
	}
}

// tableName checks the template.
func (c *check) tableName() {
	p, name := strict.Path{"source", "table_name"}, c.s.Source.TableName
	rest := strings.NewReplacer("{database}", "", "{schema}", "", "{table}", "").Replace(name)
	switch {
	case strings.ContainsAny(rest, "{}"):
		c.Fault(p, "is %q: the placeholders are {database}, {schema} and {table}", name)
	case name != "" && !strings.Contains(name, "{table}"):
		c.Fault(p, "is %q: without {table} all tables would land in one", name)
	case c.s.Source.MergeTables && strings.Contains(name, "{database}"):
		c.Fault(p, "is %q: {database} keeps apart what merge_tables = true brings together", name)
	}
}

func (c *check) ssh() {
	ssh, p := c.s.Source.SSH, strict.Path{"source", "ssh"}
	switch {
	case !c.Has(p):
	case ssh.Host == "":
		c.Fault(p.Key("host"), "is missing: name the SSH server")
	case ssh.User == "":
		c.Fault(p.Key("user"), "is missing: name the user at the SSH server")
	case ssh.KeyPassphrase.IsSet() && ssh.KeyFile == "":
		c.Fault(p.Key("key_passphrase"), "needs key_file beside it")
	}
}

// files makes everything that is named by a path relative to the pipeline
// file.
func (c *check) files() {
	tls := &c.s.Source.TLS
	ssh := &c.s.Source.SSH
	for _, path := range []*string{&tls.CAFile, &tls.ClientCertificate, &tls.ClientKey, &ssh.KeyFile, &ssh.KnownHosts, &c.s.Plugins.Trust} {
		*path = beside(c.s.Dir, *path)
	}
	c.s.Source.Password.dir = c.s.Dir
	tls.ClientKeyPassword.dir = c.s.Dir
	ssh.KeyPassphrase.dir = c.s.Dir
	c.s.Destination.Config.dir = c.s.Dir
	c.folder(strict.Path{"destination"}, &c.s.Destination.Grants)
	for i := range c.s.Transforms {
		c.s.Transforms[i].Config.dir = c.s.Dir
		c.folder(strict.Path{"transforms"}.Index(i), &c.s.Transforms[i].Grants)
	}
}

// folder looks at the folder that is granted to a plugin.
func (c *check) folder(plugin strict.Path, g *Grants) {
	if scheme, _, isURL := strings.Cut(g.Blob, "://"); isURL {
		c.Fault(plugin.Key("grants").Key("blob"), "is an address of %s: a plugin is granted a folder of this machine, object stores cannot be", scheme)
	}
	g.Blob = beside(c.s.Dir, g.Blob)
}

func (c *check) warnings() {
	for _, w := range []struct {
		p      strict.Path
		secret Secret
		env    string
	}{
		{strict.Path{"source", "password"}, c.s.Source.Password, "PGPASSWORD"},
		{strict.Path{"source", "tls", "client_key_password"}, c.s.Source.TLS.ClientKeyPassword, "CLIENT_KEY_PASSWORD"},
		{strict.Path{"source", "ssh", "key_passphrase"}, c.s.Source.SSH.KeyPassphrase, "SSH_KEY_PASSPHRASE"},
	} {
		if w.secret.isLiteral() {
			line, column := c.Place(w.p)
			c.s.Warnings = append(c.s.Warnings, fmt.Sprintf("%s:%d:%d: key %q stands in the file in plain text: better { env = %q } or { file = \"...\" }",
				c.s.Path, line, column, w.p, w.env))
		}
	}
}
