package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// wantError checks code, class and a part of the hint, and that no secret is
// in what may be shown or followed by errors.As.
func wantError(t *testing.T, err error, code int, class Class, hint string, secrets ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	e := Classify(err)
	if e.Code != code || e.Class != class || !strings.Contains(e.Hint, hint) {
		t.Errorf("code %d, class %s, hint %q: want %d, %s, %q in: %v", e.Code, e.Class, e.Hint, code, class, hint, err)
	}
	if code != 0 && len(e.Causes) == 0 {
		t.Errorf("no cause given: %v", err)
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		t.Error("the error carries the connection's settings")
	}
	for _, s := range secrets {
		if text := fmt.Sprintf("%v %+v %#v", err, e, *e); strings.Contains(text, s) {
			t.Errorf("secret in error: %s", text)
		}
	}
}

func connectError(t *testing.T, cfg Config, database string) error {
	t.Helper()
	conn, err := cfg.Connect(t.Context(), database)
	if err == nil {
		conn.Close(context.Background())
	}
	return err
}

func TestLoginErrors(t *testing.T) {
	f := newFixture(t)
	cfg := *f.role(t, "")
	secret := "role's \\secret"

	wrong := cfg
	wrong.Password = "wr0ng-pass"
	wantError(t, connectError(t, wrong, f.database), CodePassword, Stop, "PASSWORD", "wr0ng-pass")
	t.Setenv("PGPASSFILE", filepath.Join(t.TempDir(), "none"))
	none := cfg
	none.Password = ""
	wantError(t, connectError(t, none, f.database), CodePassword, Stop, "export PGPASSWORD=")
	nobody := cfg
	nobody.User = "nobody_at_all"
	wantError(t, connectError(t, nobody, f.database), CodePassword, Stop, `"nobody_at_all"`, secret)
	f.exec(t, "ALTER ROLE "+cfg.User+" NOLOGIN")
	wantError(t, connectError(t, cfg, f.database), CodePassword, Stop, "LOGIN", secret)
	f.exec(t, "ALTER ROLE "+cfg.User+" LOGIN")
	wantError(t, connectError(t, cfg, "no_such_database"), CodeNoDatabase, Stop, "pg_database", secret)
	wantError(t, connectError(t, cfg, ""), CodeDatabaseName, Stop, "", secret)
	f.exec(t, "REVOKE CONNECT ON DATABASE "+f.database+" FROM PUBLIC")
	wantError(t, connectError(t, cfg, f.database), CodeNoDatabase, Stop, "GRANT CONNECT ON DATABASE", secret)
	f.exec(t, "GRANT CONNECT ON DATABASE "+f.database+" TO PUBLIC")
	if err := connectError(t, cfg, f.database); err != nil {
		t.Errorf("with everything right: %v", err)
	}
	if _, err := cfg.connectReplication(t.Context(), f.database); err == nil {
		t.Error("a role without REPLICATION replicates")
	} else {
		wantError(t, err, CodePrerequisite, Stop, "REPLICATION", secret)
	}
}

func TestSettingErrors(t *testing.T) {
	good := Config{Host: "127.0.0.1", User: "u"}
	for _, change := range []func(*Config){
		func(c *Config) { c.Host = "http://db.example.com/" },
		func(c *Config) { c.Host = "HTTPS://db.example.com" },
		func(c *Config) { c.Host = "" },
		func(c *Config) { c.Host = "a,b" },
		func(c *Config) { c.User = "" },
		func(c *Config) { c.Password = "a\x00b" },
		func(c *Config) { c.TLS.Mode = "always" },
		func(c *Config) { c.TLS = TLSConfig{Mode: TLSVerifyCA, CAFile: "/nonexistent/ca.pem"} },
		func(c *Config) { c.TLS = TLSConfig{Mode: TLSVerifyCA, CAFile: "-----BEGIN nothing"} },
		func(c *Config) { c.TLS = TLSConfig{Mode: TLSRequire, ClientCertificate: "cert.pem"} },
		func(c *Config) { c.Host, c.TLS.Mode = "/tmp", TLSVerifyFull },
	} {
		c := good
		change(&c)
		_, err := c.ReplicationConfig("shop")
		wantError(t, err, CodeSettings, Stop, "")
	}
	c := good
	c.Host = "https://db.example.com/"
	_, err := c.ReplicationConfig("shop")
	wantError(t, err, CodeSettings, Stop, `host = "db.example.com"`)
}

func TestEnvironmentTakesNoPart(t *testing.T) {
	f := newFixture(t)
	for name, value := range map[string]string{"PGHOST": "192.0.2.1", "PGPORT": "1", "PGUSER": "x", "PGDATABASE": "x", "PGSSLMODE": "verify-full",
		"PGSSLROOTCERT": "/nonexistent", "PGOPTIONS": "-c wrong=1", "PGTZ": "Nowhere", "PGPASSWORD": "x", "PGTARGETSESSIONATTRS": "standby",
		"PGREQUIREAUTH": "none", "PGSSLCERT": "/nonexistent", "PGSSLKEY": "/nonexistent"} {
		t.Setenv(name, value)
	}
	if err := connectError(t, *f.cfg, f.database); err != nil {
		t.Error(err)
	}
}

func TestUnreachable(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(closed.Addr().(*net.TCPAddr).Port)
	closed.Close()
	cfg := Config{Host: "127.0.0.1", Port: port, User: "u", Password: "hidden-secret"}
	refused := connectError(t, cfg, "shop") // with TLS, and without
	wantError(t, refused, CodeUnreachable, Retry, fmt.Sprintf("pg_isready -h 127.0.0.1 -p %d", port), "hidden-secret")
	if strings.Count(refused.Error(), "connection refused") != 1 {
		t.Errorf("not said once: %v", refused)
	}
	cfg.Host = "host.invalid"
	wantError(t, connectError(t, cfg, "shop"), CodeUnreachable, Retry, "pg_isready -h host.invalid", "hidden-secret")
	cfg.Host = "/nonexistent/socket"
	wantError(t, connectError(t, cfg, "shop"), CodeUnreachable, Retry, "", "hidden-secret")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = cfg.Connect(ctx, "shop")
	wantError(t, err, 0, Canceled, "", "hidden-secret")
}

func TestHBAErrors(t *testing.T) {
	server := pgserver.Own(t, pgserver.Options{HBA: []string{
		"host all only 127.0.0.1/32 scram-sha-256",
		"host peerdb postgres 127.0.0.1/32 ident",
		"local all all peer",
	}})
	cfg := *configOf(server)
	err := connectError(t, cfg, "postgres")
	wantError(t, err, CodeNoHBAEntry, Stop, `host "postgres" "postgres" 127.0.0.1/32 scram-sha-256`, cfg.Password)
	// The line that the hint gives lets the client in.
	_, line, _ := strings.Cut(Classify(err).Hint, "\n")
	if err := server.SetHBA(t.Context(), "host peerdb postgres 127.0.0.1/32 ident", line); err != nil {
		t.Fatal(err)
	}
	if err := connectError(t, cfg, "postgres"); err != nil {
		t.Errorf("with the line of the hint: %v", err)
	}
	wantError(t, connectError(t, cfg, "peerdb"), CodeAuthentication, Stop, "pg_hba.conf", cfg.Password)
}

func TestServerPrerequisites(t *testing.T) {
	server := pgserver.Own(t, pgserver.Options{Settings: map[string]string{"max_replication_slots": "1", "max_wal_senders": "1", "max_slot_wal_keep_size": "32MB"}})
	f := fixtureOn(t, server)
	snapshot := f.createSlot(t, "only_one")
	snapshot.Close(t.Context())
	f.awaitNoSender(t)
	_, err := f.source.CreateSlot(t.Context(), "one_more", false)
	wantError(t, err, CodePrerequisite, Stop, "max_replication_slots")
	f.awaitNoSender(t)
	sender, err := f.cfg.connectReplication(t.Context(), f.database)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.cfg.connectReplication(t.Context(), f.database)
	wantError(t, err, CodePrerequisite, Retry, "max_wal_senders")
	sender.Close(t.Context())
	f.awaitNoSender(t)

	// Switch segments until the slot's log is beyond its allowance.
	for lost := false; !lost; {
		f.exec(t, "SELECT pg_logical_emit_message(true, 'x', repeat('x', 1000000)), pg_switch_wal()", "CHECKPOINT")
		slot, err := f.source.Slot(t.Context(), "only_one")
		if err != nil {
			t.Fatal(err)
		}
		lost = slot.Lost()
	}
	sender, err = f.cfg.connectReplication(t.Context(), f.database)
	if err != nil {
		t.Fatal(err)
	}
	err = pglogrepl.StartReplication(t.Context(), sender, "only_one", 0, pglogrepl.StartReplicationOptions{PluginArgs: []string{"proto_version '1'", "publication_names 'p'"}})
	sender.Close(t.Context())
	wantError(t, wrap("read slot", "only_one", err), 0, Resync, "leat run --resync")
	report := Check(t.Context(), f.cfg, Requirements{Slot: "only_one"})
	wantItem(t, report, "slot", Fail, "lost", "leat run --resync")
}

// awaitNoSender returns when the walsenders of closed connections have ended.
func (f *fixture) awaitNoSender(t *testing.T) {
	t.Helper()
	for n := 1; n > 0; {
		if err := f.conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity, pg_sleep(0.002) WHERE backend_type = 'walsender'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWALLevel(t *testing.T) {
	server := pgserver.Own(t, pgserver.Options{Settings: map[string]string{"wal_level": "replica"}})
	f := fixtureOn(t, server)
	_, err := f.source.CreateSlot(t.Context(), "s", false)
	wantError(t, err, CodePrerequisite, Stop, "wal_level = 'logical'", f.cfg.Password)
	report := Check(t.Context(), f.cfg, Requirements{})
	wantItem(t, report, "wal_level", Fail, "replica", "ALTER SYSTEM SET wal_level")
}

func TestServerClasses(t *testing.T) {
	for code, want := range map[string]Class{"57P01": Retry, "57P02": Retry, "57P03": Retry, "53300": Retry, "08006": Retry, "40001": Retry,
		"40P01": Retry, "53100": Retry, "55P03": Retry, "42501": Object, "42P01": Object, "42601": Stop, "XX000": Stop, "": Stop} {
		err := fmt.Errorf("read: %w", &pgconn.PgError{Code: code})
		if got := Classify(err).Class; got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
}
