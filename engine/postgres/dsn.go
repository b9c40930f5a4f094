package postgres

import (
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// ParseDSN reads a connection string, postgres://user@host/database or
// keyword=value pairs, with what the libpq environment variables add.
func ParseDSN(dsn string) (cfg *Config, database string, err error) {
	c, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, "", settingsError(fmt.Errorf("the connection string is not valid"), "It has the form postgres://user@host:port/database.", "leat init postgres://leat@db.example.com:5432/shop")
	}
	cfg = &Config{Host: c.Host, Port: c.Port, User: c.User, Password: c.Password, Databases: []string{c.Database}}
	cfg.TLS.Mode = modeOf(c)
	return cfg, c.Database, cfg.validate(c.Database)
}

// modeOf finds the sslmode that a parsed connection string had: pgconn turns
// it into what is tried first and what after that. The default, prefer, is the
// empty mode.
func modeOf(c *pgconn.Config) TLSMode {
	plainFallback := slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.TLSConfig == nil })
	switch {
	case c.TLSConfig == nil && len(c.Fallbacks) == 0:
		return TLSDisable
	case c.TLSConfig == nil:
		return TLSAllow
	case plainFallback:
		return ""
	case c.TLSConfig.InsecureSkipVerify && c.TLSConfig.VerifyPeerCertificate == nil:
		return TLSRequire
	case c.TLSConfig.InsecureSkipVerify:
		return TLSVerifyCA
	}
	return TLSVerifyFull
}
