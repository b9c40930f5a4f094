package capability

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
)

// dryRun is a connection whose work is taken back: the caller's transactions
// are parts of one that Close rolls back.
type dryRun struct {
	SQL
	made string // the DuckDB file that opening made, empty for none
}

// OpenDryRun is OpenSQL for a try: all that is written is gone with Close.
func OpenDryRun(ctx context.Context, driver string, config json.RawMessage) (SQL, error) {
	d := &dryRun{}
	if driver == "duckdb" {
		var c duckDBConfig
		if err := decodeConfig(driver, config, &c); err != nil {
			return nil, err
		}
		if _, err := os.Stat(c.Path); errors.Is(err, os.ErrNotExist) {
			d.made = c.Path
		}
	}
	var err error
	if d.SQL, err = OpenSQL(ctx, driver, config); err != nil {
		return nil, err
	}
	if err := d.SQL.Begin(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Exec implements SQL. There is nothing to checkpoint.
func (d *dryRun) Exec(ctx context.Context, sql string) (int64, error) {
	if strings.EqualFold(strings.TrimSpace(sql), "CHECKPOINT") {
		return 0, nil
	}
	return d.SQL.Exec(ctx, sql)
}

// Begin implements SQL.
func (d *dryRun) Begin(context.Context) error { return nil }

// Commit implements SQL.
func (d *dryRun) Commit(context.Context) error { return nil }

// Rollback implements SQL.
func (d *dryRun) Rollback(context.Context) error { return nil }

// Close implements SQL.
func (d *dryRun) Close() error {
	err := errors.Join(d.SQL.Rollback(context.Background()), d.SQL.Close())
	if d.made != "" {
		for _, path := range []string{d.made, d.made + ".wal"} {
			if removeErr := os.Remove(path); removeErr != nil && !errors.Is(removeErr, os.ErrNotExist) {
				err = errors.Join(err, removeErr)
			}
		}
	}
	return err
}
