package capability

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
)

// OpenSQL opens a connection with the driver of that name, duckdb or postgres.
// config holds the keys of the destination's configuration that its schema
// marks with x-leat-host: what a guest never sees.
func OpenSQL(ctx context.Context, driver string, config json.RawMessage) (SQL, error) {
	switch driver {
	case "duckdb":
		var c duckDBConfig
		if err := decodeConfig(driver, config, &c); err != nil {
			return nil, err
		}
		if c.Threads == 0 {
			c.Threads = defaultThreads()
		}
		return OpenDuckDB(ctx, DuckDBOptions(c))
	case "postgres":
		var c postgresConfig
		if err := decodeConfig(driver, config, &c); err != nil {
			return nil, err
		}
		return OpenPostgres(ctx, PostgresOptions{
			Host: c.Host, Port: c.Port, User: c.User, Password: c.Password, Database: c.Database,
			TLSMode: c.TLS.Mode, CAFile: c.TLS.CAFile, CertificateFile: c.TLS.Certificate, KeyFile: c.TLS.Key,
		})
	}
	return nil, &Error{Class: Schema, Message: fmt.Sprintf("no SQL driver is called %q", driver), Hint: "there are duckdb and postgres"}
}

// OpenReader is OpenSQL for questions alone: a DuckDB file is opened without
// the right to change it, beside other readers, and not made if it is missing.
func OpenReader(ctx context.Context, driver string, config json.RawMessage) (SQL, error) {
	if driver != "duckdb" {
		return OpenSQL(ctx, driver, config)
	}
	var c duckDBConfig
	if err := decodeConfig(driver, config, &c); err != nil {
		return nil, err
	}
	c.ReadOnly = true
	return OpenDuckDB(ctx, DuckDBOptions(c))
}

// defaultThreads leaves half of the cores to the source, the decoder and the
// plugins. With more than one thread the caller's spins while the others work:
// on two cores that was a fifth of the processor time of a load.
func defaultThreads() int { return max(1, runtime.GOMAXPROCS(0)/2) }

type duckDBConfig struct {
	Path        string `json:"path"`
	ReadOnly    bool   `json:"read_only"`
	MemoryLimit string `json:"memory_limit"`
	Threads     int    `json:"threads"`
	TempDir     string `json:"temp_directory"`
}

type postgresConfig struct {
	Host     string `json:"host"`
	Port     int    `json:"port"`
	User     string `json:"user"`
	Password string `json:"password"`
	Database string `json:"database"`
	TLS      struct {
		Mode        string `json:"mode"`
		CAFile      string `json:"ca_file"`
		Certificate string `json:"client_certificate"`
		Key         string `json:"client_key"`
	} `json:"tls"`
}

// decodeConfig reads the connection's keys. The text of a failure names the
// key and never its value.
func decodeConfig(driver string, config json.RawMessage, v any) error {
	if len(config) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		e := &Error{Class: Schema, Message: "configuration of the " + driver + " connection is not valid"}
		if wrong, ok := err.(*json.UnmarshalTypeError); ok {
			e.Message = fmt.Sprintf("configuration of the %s connection: %s wants a %s", driver, wrong.Field, wrong.Type)
		}
		return e
	}
	return nil
}
