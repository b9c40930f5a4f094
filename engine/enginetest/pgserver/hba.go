package pgserver

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// The package's own connections come over the socket in a folder that only the
// server's user can enter; these lines go before all others.
const controlHBA = "local all postgres trust\n"

var defaultHBA = []string{
	"local all all scram-sha-256",
	"host all all 127.0.0.1/32 scram-sha-256",
	"host replication all 127.0.0.1/32 scram-sha-256",
	"local replication all scram-sha-256",
}

func (s *Server) writeHBA(lines []string) error {
	if len(lines) == 0 {
		lines = defaultHBA
	}
	return s.write(filepath.Join(s.data, "pg_hba.conf"), controlHBA+strings.Join(lines, "\n")+"\n")
}

// SetHBA replaces the lines of pg_hba.conf, or puts the default back when
// there are none, and returns when the server goes by them.
func (s *Server) SetHBA(ctx context.Context, lines ...string) error {
	if err := s.writeHBA(lines); err != nil {
		return fmt.Errorf("write pg_hba.conf: %w", err)
	}
	conn, err := pgx.Connect(ctx, s.SocketDSN("postgres"))
	if err != nil {
		return fmt.Errorf("reload pg_hba.conf: %w", err)
	}
	defer conn.Close(ctx)
	var wrong *string
	if err := conn.QueryRow(ctx, "SELECT string_agg(format('line %s: %s', line_number, error), '; ') FROM pg_hba_file_rules WHERE error IS NOT NULL").Scan(&wrong); err != nil {
		return fmt.Errorf("check pg_hba.conf: %w", err)
	}
	if wrong != nil {
		return fmt.Errorf("check pg_hba.conf: %s", *wrong)
	}
	return reload(ctx, conn)
}

// reload returns when conn has seen the new configuration: by then the
// postmaster has it, too, and reads pg_hba.conf before it takes another
// connection.
func reload(ctx context.Context, conn *pgx.Conn) error {
	var before, now time.Time
	if err := conn.QueryRow(ctx, "SELECT pg_conf_load_time()").Scan(&before); err != nil {
		return fmt.Errorf("reload configuration: %w", err)
	}
	if _, err := conn.Exec(ctx, "SELECT pg_reload_conf()"); err != nil {
		return fmt.Errorf("reload configuration: %w", err)
	}
	for now = before; !now.After(before); {
		if err := conn.QueryRow(ctx, "SELECT pg_conf_load_time() FROM pg_sleep(0.002)").Scan(&now); err != nil {
			return fmt.Errorf("reload configuration: %w", err)
		}
	}
	return nil
}
