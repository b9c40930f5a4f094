package postgres

import "testing"

func TestParseDSN(t *testing.T) {
	for dsn, want := range map[string]TLSMode{
		"postgres://leat@db:5433/shop":                                "",
		"postgres://leat@db:5433/shop?sslmode=disable":                TLSDisable,
		"postgres://leat@db:5433/shop?sslmode=allow":                  TLSAllow,
		"postgres://leat@db:5433/shop?sslmode=require":                TLSRequire,
		"postgres://leat@db:5433/shop?sslmode=verify-ca":              TLSVerifyCA,
		"host=db port=5433 user=leat dbname=shop sslmode=verify-full": TLSVerifyFull,
	} {
		cfg, database, err := ParseDSN(dsn)
		if err != nil {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		if cfg.Host != "db" || cfg.Port != 5433 || cfg.User != "leat" || database != "shop" || cfg.TLS.Mode != want {
			t.Errorf("%s: %+v, database %s, want mode %q", dsn, cfg, database, want)
		}
	}
	if _, _, err := ParseDSN("postgres://leat:secret@db:nonsense/shop"); err == nil {
		t.Error("a port that is not a number was accepted")
	}
}
