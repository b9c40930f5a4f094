package postgres

import (
	"fmt"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestAwaitVisible waits for a transaction that is open, and neither for one that
// has ended, also far away, nor for one that is prepared.
func TestAwaitVisible(t *testing.T) {
	f := fixtureOn(t, pgserver.Own(t, pgserver.Options{Settings: map[string]string{"max_prepared_transactions": "5"}}))
	source, conn := f.source, f.conn
	begin := func() (xid uint32) {
		t.Helper()
		var full int64
		if _, err := conn.Exec(t.Context(), "BEGIN"); err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRow(t.Context(), "SELECT txid_current()").Scan(&full); err != nil {
			t.Fatal(err)
		}
		return uint32(full)
	}
	end := func(how string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), how); err != nil {
			t.Fatal(err)
		}
	}
	await := func(xid uint32) chan error {
		done := make(chan error, 1)
		go func() { done <- source.AwaitVisible(t.Context(), xid) }()
		return done
	}
	comes := func(what string, done chan error) {
		t.Helper()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(visiblePatience / 2):
			t.Errorf("%s is waited for", what)
		}
	}
	xid := begin()
	open := await(xid)
	select {
	case err := <-open:
		t.Fatalf("an open transaction is not waited for: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	end("COMMIT")
	comes("one that has ended meanwhile", open)
	comes("one that has ended", await(xid))
	for _, far := range []uint32{3, xid - 1<<30, xid + 1<<31 + 100} { // beyond the horizon, numbers are of the past
		comes(fmt.Sprintf("transaction %d, far away", far), await(far))
	}
	xid = begin()
	end("PREPARE TRANSACTION 'p'")
	comes("one that is prepared", await(xid))
	end("ROLLBACK PREPARED 'p'")
}
