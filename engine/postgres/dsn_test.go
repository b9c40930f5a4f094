package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseDSN(t *testing.T) {
	for dsn, want := range map[string]TLSMode{
		"postgres://leat@db:5433/shop":                                "",
		"postgres://leat@db:5433/shop?sslmode=disable":                TLSDisable,
		"postgresql://leat@db:5433/shop?sslmode=allow":                TLSAllow,
		"postgres:///shop?host=db&port=5433&user=leat":                "",
		"postgres://leat@db:5433/shop?sslmode=verify-ca":              TLSVerifyCA,
		"host=db port=5433 user=leat dbname=shop sslmode=verify-full": TLSVerifyFull,
		`host = 'db' port=5433 user='le\at' dbname = shop`:            "",
	} {
		d, err := ParseDSN(dsn)
		if err != nil {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		if d.Host != "db" || d.Port != 5433 || d.User != "leat" || d.Database != "shop" || d.TLS.Mode != want {
			t.Errorf("%s: %+v, want mode %q", dsn, d, want)
		}
	}
	d, err := ParseDSN("postgres://le%40t:p%3Ass@a,b:5433,[::1]:5434/sh%2Fop?target_session_attrs=standby&sslrootcert=ca.pem&sslcert=c.pem&sslkey=k.pem&connect_timeout=3")
	if err != nil {
		t.Fatal(err)
	}
	if d.User != "le@t" || d.Password != "p:ss" || d.Database != "sh/op" || d.address() != "a:5432" || len(d.Others) != 2 || d.Others[0] != (Address{"b", 5433}) ||
		d.Others[1] != (Address{"::1", 5434}) || d.Target != TargetStandby || d.TLS.CAFile != "ca.pem" || d.TLS.ClientCertificate != "c.pem" || d.TLS.ClientKey != "k.pem" || d.ConnectTimeout.Seconds() != 3 {
		t.Errorf("%+v", d)
	}
	for _, bad := range []string{"postgres://leat:s3cret-word@db:nonsense/shop", "host=db password='s3cret-word", "s3cret-word", "postgres://u:s3cret-word@db/x?a=%zz",
		"postgres://u:s3cret-word@db/x?channel_binding=require", "host=a,b port=1,2,3x password=s3cret-word", "postgres://u:s3cret-word@http://db/x"} {
		_, err := ParseDSN(bad)
		wantError(t, err, CodeSettings, Stop, "", "s3cret-word")
	}
}

// TestServiceAndEnvironment: the string goes before the service, the service
// before the environment.
func TestServiceAndEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(file, []byte("[shop]\nhost=a,b\nport=5433\nuser=of-service\npassword=s3cret-word\nsslmode=require\ntarget_session_attrs=any\n\n[odd]\nhost=x\npassword=s3cret-word\nrequire_auth=none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGSERVICEFILE", file)
	t.Setenv("PGSYSCONFDIR", t.TempDir())
	t.Setenv("PGUSER", "of-environment")
	t.Setenv("PGDATABASE", "of-environment")
	d, err := ParseDSN("service=shop sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	if d.Service != "shop" || d.address() != "a:5433" || len(d.Others) != 1 || d.User != "of-service" || d.Password != "s3cret-word" || d.Database != "of-environment" ||
		d.TLS.Mode != TLSDisable || d.Target != TargetAny {
		t.Errorf("%+v", d)
	}
	cfg := Config{User: "of-file", Port: 1, TLS: TLSConfig{Mode: TLSVerifyFull}}
	if err := cfg.FromService("shop"); err != nil {
		t.Fatal(err)
	}
	if cfg.User != "of-file" || cfg.Host != "a" || cfg.Port != 1 || cfg.Password != "s3cret-word" || cfg.TLS.Mode != TLSVerifyFull {
		t.Errorf("%+v", cfg)
	}
	wantError(t, cfg.FromService("missing"), CodeSettings, Stop, "[missing]", "s3cret-word")
	wantError(t, cfg.FromService("odd"), CodeSettings, Stop, "Take it out", "s3cret-word")
	if err := os.WriteFile(file, []byte("nonsense s3cret-word"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cfg.FromService("shop"); err == nil || strings.Contains(err.Error(), "s3cret-word") {
		t.Errorf("a malformed file: %v", err)
	}
}

func TestPasswordFile(t *testing.T) {
	f := newFixture(t)
	file := filepath.Join(t.TempDir(), "pgpass")
	cfg := *f.cfg
	cfg.Password = ""
	t.Setenv("PGPASSFILE", file)
	t.Setenv("PGPASSWORD", "not this one")
	if err := os.WriteFile(file, []byte("other:*:*:*:no\n127.0.0.1:*:"+f.database+":postgres:"+f.cfg.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := connectError(t, cfg, f.database); err != nil {
		t.Error(err)
	}
	wantError(t, connectError(t, cfg, "postgres"), CodePassword, Stop, "", f.cfg.Password)
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	err := connectError(t, cfg, f.database)
	wantError(t, err, CodePassword, Stop, "chmod 0600 "+file, f.cfg.Password)
	if causes := Classify(err).Causes; len(causes) != 1 || !strings.Contains(causes[0], file+" is not read") {
		t.Errorf("causes %v", causes)
	}
	t.Setenv("PGPASSFILE", filepath.Dir(file))
	wantError(t, connectError(t, cfg, f.database), CodePassword, Stop, "unset PGPASSFILE")
}

func TestUnixSocket(t *testing.T) {
	f := newFixture(t)
	d, err := ParseDSN(f.server.SocketDSN(f.database))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(d.Host, "/") {
		t.Fatalf("host %q", d.Host)
	}
	r := Check(t.Context(), &d.Config, Requirements{Publication: "p", Slot: "s"})
	if !r.OK() {
		t.Errorf("%+v", r)
	}
	wantItem(t, r, "TLS", OK, "not encrypted", "")
}
