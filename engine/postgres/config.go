package postgres

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// DefaultPort is PostgreSQL's port.
const DefaultPort = 5432

// DefaultConnectTimeout bounds one attempt to connect.
const DefaultConnectTimeout = 15 * time.Second

// Config says how to reach a server. All values are plain: secrets are
// resolved before they get here.
type Config struct {
	// Host is a name, an address, or the absolute path of the folder that
	// holds the server's Unix socket.
	Host string
	// Port 0 means DefaultPort.
	Port uint16
	User string
	// Password empty means that the server asks for none, or that the user's
	// password file has it.
	Password  string
	Databases []string
	TLS       TLSConfig
	// Decoder is the output plugin of slots, TestDecoding where the server has
	// no other; empty means PgOutput.
	Decoder Decoder
	// ApplicationName is shown in pg_stat_activity; empty means "leat".
	ApplicationName string
	// ConnectTimeout 0 means DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// Dial replaces the dialler, for a tunnel. The name is then resolved at
	// its far end.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Decoder is the plugin with which the server turns its log into changes.
type Decoder string

// The decoders: test_decoding is the only one before PostgreSQL 10.
const (
	PgOutput     Decoder = "pgoutput"
	TestDecoding Decoder = "test_decoding"
)

// TLSMode says whether a connection is encrypted and how the server proves
// who it is.
type TLSMode string

// The modes are libpq's. The empty mode is Prefer.
const (
	TLSDisable    TLSMode = "disable"
	TLSAllow      TLSMode = "allow"
	TLSPrefer     TLSMode = "prefer"
	TLSRequire    TLSMode = "require"
	TLSVerifyCA   TLSMode = "verify-ca"
	TLSVerifyFull TLSMode = "verify-full"
)

// TLSConfig is the encryption of a connection. Certificates and keys are
// paths of PEM files, or the PEM text itself.
type TLSConfig struct {
	Mode   TLSMode
	CAFile string
	// LoadAllCA false takes only the first certificate of CAFile; nil and
	// true take all, at most MaxCACertificates.
	LoadAllCA         *bool
	ClientCertificate string
	// ClientKey is RSA, ECDSA or Ed25519, encrypted or not.
	ClientKey         string
	ClientKeyPassword string
}

// validate finds what is wrong with the settings before anything is dialled.
func (c *Config) validate(database string) error {
	host := c.Host
	for _, scheme := range []string{"http://", "https://", "postgres://", "postgresql://"} {
		if strings.HasPrefix(strings.ToLower(host), scheme) {
			return settingsError(fmt.Errorf("host %q starts with %s", host, scheme),
				"The host is a name or an address alone.", fmt.Sprintf("host = %q", strings.TrimRight(host[len(scheme):], "/")))
		}
	}
	if host == "" {
		return settingsError(fmt.Errorf("host is empty"), "No host is set.", `host = "db.example.com"`)
	}
	if strings.ContainsAny(host, " \t\n,") {
		return settingsError(fmt.Errorf("host %q is not a name", host), "The host is one name or address.", `host = "db.example.com"`)
	}
	if c.User == "" {
		return settingsError(fmt.Errorf("user is empty"), "No user is set.", `user = "leat"`)
	}
	if database == "" {
		return &Error{Op: "connect", Object: c.address(), Code: CodeDatabaseName, Class: Stop, Err: fmt.Errorf("database name is empty"),
			Causes: []string{"No database name is set."}, Hint: `database = "shop"`}
	}
	for _, s := range []string{host, c.User, database, c.Password, c.ApplicationName} {
		if strings.ContainsRune(s, 0) {
			return settingsError(fmt.Errorf("a setting holds a zero byte"), "A secret file may be binary.", "")
		}
	}
	return nil
}

// address names the server for people.
func (c *Config) address() string {
	return fmt.Sprintf("%s:%d", c.Host, c.port())
}

func (c *Config) port() uint16 {
	if c.Port == 0 {
		return DefaultPort
	}
	return c.Port
}

func (c *Config) decoder() Decoder {
	if c.Decoder == "" {
		return PgOutput
	}
	return c.Decoder
}

// settingsError is a failure of the configuration itself.
func settingsError(err error, cause, hint string) *Error {
	return &Error{Op: "read connection settings", Code: CodeSettings, Class: Stop, Err: err, Causes: []string{cause}, Hint: hint}
}
