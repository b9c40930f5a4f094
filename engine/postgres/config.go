package postgres

import (
	"cmp"
	"fmt"
	"strings"
	"sync/atomic"
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
	// Others are tried in this order when Host does not answer or is not what
	// Target asks for. A Source stays with the server that has answered it.
	Others []Address
	// Target says which server will do. Empty is TargetReadWrite where there
	// are Others, and TargetAny otherwise.
	Target Target
	User   string
	// Password empty means that the server asks for none, or that the user's
	// password file has it.
	Password  string
	Databases []string
	TLS       TLSConfig
	// Decoder is the output plugin of slots, TestDecoding where the server has
	// no other; empty means PgOutput.
	Decoder Decoder
	// ByLeaf takes each partition for a table of its own instead of the
	// partitioned table.
	ByLeaf bool
	// ApplicationName is shown in pg_stat_activity; empty means "leat".
	ApplicationName string
	// ConnectTimeout 0 means DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// Silence is how long a session waits for an answer before it gives up the
	// connection with ErrSilent; 0 waits for ever.
	Silence time.Duration
	// Tunnel, where it is not nil, carries every connection. Names are then
	// resolved at its far end.
	Tunnel *Tunnel

	fellSilent *atomic.Bool // of a Source: see Source.FellSilent
}

// Decoder is the plugin with which the server turns its log into changes.
type Decoder string

// The decoders: test_decoding is the only one before PostgreSQL 10.
const (
	PgOutput     Decoder = "pgoutput"
	TestDecoding Decoder = "test_decoding"
)

// Address is a server: a name, an address or the folder of a Unix socket, and
// a port, of which 0 is DefaultPort.
type Address struct {
	Host string
	Port uint16
}

// String names the server for people.
func (a Address) String() string {
	return fmt.Sprintf("%s:%d", a.Host, cmp.Or(a.Port, DefaultPort))
}

// Target is what a server has to be, as libpq's target_session_attrs.
type Target string

// The targets. PreferStandby takes a standby where one answers.
const (
	TargetAny           Target = "any"
	TargetReadWrite     Target = "read-write"
	TargetReadOnly      Target = "read-only"
	TargetPrimary       Target = "primary"
	TargetStandby       Target = "standby"
	TargetPreferStandby Target = "prefer-standby"
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
	for _, a := range c.addresses() {
		if err := a.validate(); err != nil {
			return err
		}
	}
	if c.User == "" {
		return settingsError(fmt.Errorf("user is empty"), "No user is set.", `user = "leat"`)
	}
	if database == "" {
		return &Error{Op: "connect", Object: c.address(), Code: CodeDatabaseName, Class: Stop, Err: fmt.Errorf("database name is empty"),
			Causes: []string{"No database name is set."}, Hint: `database = "shop"`}
	}
	for _, s := range []string{c.User, database, c.Password, c.ApplicationName} {
		if strings.ContainsRune(s, 0) {
			return settingsError(fmt.Errorf("a setting holds a zero byte"), "A secret file may be binary.", "")
		}
	}
	return nil
}

func (a Address) validate() error {
	for _, scheme := range []string{"http://", "https://", "postgres://", "postgresql://"} {
		if strings.HasPrefix(strings.ToLower(a.Host), scheme) {
			return settingsError(fmt.Errorf("host %q starts with %s", a.Host, scheme),
				"The host is a name or an address alone.", fmt.Sprintf("host = %q", strings.TrimRight(a.Host[len(scheme):], "/")))
		}
	}
	if a.Host == "" {
		return settingsError(fmt.Errorf("host is empty"), "No host is set.", `host = "db.example.com"`)
	}
	if strings.ContainsAny(a.Host, " \t\n,\x00") {
		return settingsError(fmt.Errorf("host %q is not a name", a.Host), "A host is one name or address.",
			`host = "db.example.com", or hosts = ["a.example.com:5432", "b.example.com"]`)
	}
	return nil
}

// addresses are all servers, in the order in which they are tried.
func (c *Config) addresses() []Address {
	return append([]Address{{c.Host, c.Port}}, c.Others...)
}

func (c *Config) decoder() Decoder {
	if c.Decoder == "" {
		return PgOutput
	}
	return c.Decoder
}

// at is the configuration of one of the servers alone.
func (c *Config) at(a Address) *Config {
	one := *c
	one.Host, one.Port, one.Others, one.Target = a.Host, a.Port, nil, c.target()
	return &one
}

func (c *Config) target() Target {
	if c.Target == "" && len(c.Others) > 0 {
		return TargetReadWrite
	}
	return cmp.Or(c.Target, TargetAny)
}

// address names the server for people.
func (c *Config) address() string { return Address{c.Host, c.Port}.String() }

func (c *Config) port() uint16 { return cmp.Or(c.Port, DefaultPort) }

// settingsError is a failure of the configuration itself.
func settingsError(err error, cause, hint string) *Error {
	return &Error{Op: "read connection settings", Code: CodeSettings, Class: Stop, Err: err, Causes: []string{cause}, Hint: hint}
}
