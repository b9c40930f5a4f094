package postgres

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestHostsInTurn has two servers, of which one takes no writes as a standby
// does, and an address where nobody listens.
func TestHostsInTurn(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := Address{"127.0.0.1", uint16(closed.Addr().(*net.TCPAddr).Port)}
	closed.Close()
	readOnly := pgserver.Own(t, pgserver.Options{Password: "same"})
	if err := readOnly.Exec(t.Context(), "postgres", "ALTER SYSTEM SET default_transaction_read_only = on"); err != nil {
		t.Fatal(err)
	}
	if err := readOnly.SetHBA(t.Context()); err != nil { // reloads
		t.Fatal(err)
	}
	writes := pgserver.Own(t, pgserver.Options{Password: "same"})
	still, busy := Address{readOnly.Host(), uint16(readOnly.Port())}, Address{writes.Host(), uint16(writes.Port())}
	cfg := *configOf(writes, "postgres")
	for _, c := range []struct {
		hosts  []Address
		target Target
		want   Address
	}{
		{[]Address{nobody, still, busy}, "", busy},
		{[]Address{nobody, still, busy}, TargetAny, still},
		{[]Address{busy, still}, TargetReadOnly, still},
		{[]Address{nobody, still, busy}, TargetPrimary, still},
		{[]Address{still, busy}, TargetPreferStandby, still}, // none is one
		{[]Address{still}, "", still},
	} {
		cfg.Host, cfg.Port, cfg.Others, cfg.Target = c.hosts[0].Host, c.hosts[0].Port, c.hosts[1:], c.target
		source, err := Open(t.Context(), &cfg, "postgres")
		if err != nil {
			t.Errorf("%v %s: %v", c.hosts, c.target, err)
			continue
		}
		if got := source.cfg.address(); got != c.want.String() {
			t.Errorf("%v %s: took %s, want %s", c.hosts, c.target, got, c.want)
		}
		if err := source.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	cfg.Host, cfg.Port, cfg.Others, cfg.Target = nobody.Host, nobody.Port, []Address{still, busy}, ""
	r := Check(t.Context(), &cfg, Requirements{Publication: "p", Slot: "s"})
	item := wantItem(t, r, "server reachable", OK, busy.String(), "")
	if !strings.Contains(item.Found, "connection refused") || !strings.Contains(item.Found, still.String()+": the server is read-only") {
		t.Errorf("found %q", item.Found)
	}
	cfg.Others = []Address{still}
	err = connectError(t, cfg, "postgres")
	wantError(t, err, CodeUnreachable, Retry, "pg_is_in_recovery", cfg.Password)
	if err != nil && (!strings.Contains(err.Error(), nobody.String()) || !strings.Contains(err.Error(), still.String())) {
		t.Errorf("not every host is named in %v", err)
	}
	cfg.Target = TargetStandby
	wantError(t, connectError(t, cfg, "postgres"), CodeUnreachable, Retry, "")
	cfg.Host, cfg.Port, cfg.Others, cfg.Target = still.Host, still.Port, nil, TargetReadWrite
	wantError(t, connectError(t, cfg, "postgres"), CodePrerequisite, Retry, "hosts = ", cfg.Password)
	cfg.Target = "whoever"
	wantError(t, connectError(t, cfg, "postgres"), CodeSettings, Stop, "read-write")

	// A refusal ends the search, and a source stays with its server.
	cfg = *configOf(writes, "postgres")
	cfg.Password, cfg.Others, cfg.Target = "wr0ng-pass", []Address{still}, TargetAny
	wantError(t, connectError(t, cfg, "postgres"), CodePassword, Stop, "", "wr0ng-pass")
	cfg.Password, cfg.Host, cfg.Port, cfg.Others = writes.Password(), busy.Host, busy.Port, []Address{still}
	source, err := Open(t.Context(), &cfg, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close(context.Background())
	if err := writes.Kill(); err != nil {
		t.Fatal(err)
	}
	_, err = source.System(t.Context())
	wantError(t, err, 0, Retry, "")
	_, err = source.System(t.Context())
	wantError(t, err, CodeUnreachable, Retry, "pg_isready")
}
