package postgres

import (
	"fmt"

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
	if c.TLSConfig != nil {
		cfg.TLS.Mode = TLSRequire
	}
	return cfg, c.Database, cfg.validate(c.Database)
}
