package postgres

import (
	"context"
	"testing"
)

func (f *fixture) createSlot(t *testing.T, name string) *Snapshot {
	t.Helper()
	snapshot, err := f.source.CreateSlot(t.Context(), name, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { snapshot.Close(context.Background()) })
	return snapshot
}

func TestSlotLife(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY)`, `INSERT INTO t VALUES (1)`, `CREATE PUBLICATION none`)
	name := f.database
	if slot, err := f.source.Slot(t.Context(), name); slot != nil || err != nil {
		t.Fatalf("no slot yet: %+v, %v", slot, err)
	}
	snapshot := f.createSlot(t, name)
	slot, err := f.source.Slot(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if slot.Plugin != "pgoutput" || slot.Database != f.database || slot.Active || slot.WALStatus != "reserved" || slot.Lost() {
		t.Errorf("slot %+v", slot)
	}
	if slot.ConfirmedFlushLSN != snapshot.LSN || slot.RestartLSN == 0 || slot.RestartLSN > snapshot.LSN {
		t.Errorf("slot at %x, restart %x, snapshot at %x", slot.ConfirmedFlushLSN, slot.RestartLSN, snapshot.LSN)
	}
	before := slot.RetainedBytes
	system, err := f.source.System(t.Context())
	if err != nil || system.ID == 0 || system.Timeline != 1 || system.LSN < snapshot.LSN || snapshot.Timeline != 1 {
		t.Errorf("system %+v, %v", system, err)
	}
	lsn, err := f.source.Heartbeat(t.Context(), "beat")
	if err != nil || lsn < system.LSN {
		t.Errorf("heartbeat at %x, %v", lsn, err)
	}
	f.exec(t, `INSERT INTO t VALUES (2)`) // writes the log out, as the WAL writer does after a while
	var seen int
	err = f.conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', 'none', 'messages', 'true')
		WHERE encode(data, 'escape') LIKE 'M%leat%beat'`, name).Scan(&seen)
	if err != nil || seen != 1 {
		t.Errorf("%d heartbeats in the stream, %v", seen, err)
	}
	if slot, err = f.source.Slot(t.Context(), name); err != nil || slot.RetainedBytes <= before {
		t.Errorf("retained %d, then %d bytes (%v)", before, slot.RetainedBytes, err)
	}
	for range 2 {
		if err := f.source.DropSlot(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if slot, err := f.source.Slot(t.Context(), name); slot != nil || err != nil {
		t.Errorf("dropped slot: %+v, %v", slot, err)
	}
	if _, err := f.source.CreateSlot(t.Context(), "Bad-name", false); Classify(err).Code != CodeSettings {
		t.Errorf("bad name: %v", err)
	}
}

func TestSnapshotIsTheConsistentPoint(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY)`, `INSERT INTO t VALUES (1)`)
	f.exec(t, `CREATE PUBLICATION p FOR TABLE t`)
	snapshot := f.createSlot(t, f.database)
	f.exec(t, `INSERT INTO t VALUES (2)`)
	rows, _ := f.readAll(t, snapshot, f.table(t, "t"))
	if len(rows) != 1 || rows["1"] != 1 {
		t.Errorf("snapshot has %v", rows)
	}
	var streamed int
	if err := f.conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', 'p')
		WHERE get_byte(data, 0) = ascii('I')`, f.database).Scan(&streamed); err != nil {
		t.Fatal(err)
	}
	if streamed != 1 {
		t.Errorf("%d inserts in the stream, want the later one", streamed)
	}
}

func TestSnapshotSees(t *testing.T) {
	const xmax = 7<<32 + 100
	v := visible{xmin: xmax - 20, xmax: xmax, running: []uint64{xmax - 20, xmax - 5}}
	for xid, want := range map[uint32]bool{79: true, 80: false, 81: true, 95: false, 99: true, 100: false, 101: false,
		4294967290: true, // of the epoch before
		3:          true} {
		if v.sees(xid) != want {
			t.Errorf("sees(%d) = %v", xid, !want)
		}
	}
	f := newFixture(t)
	running := f.connect(t)
	var xid, later uint32
	if _, err := running.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if err := running.QueryRow(t.Context(), "SELECT pg_current_xact_id()::xid").Scan(&xid); err != nil {
		t.Fatal(err)
	}
	var committed uint32
	if err := f.conn.QueryRow(t.Context(), "SELECT pg_current_xact_id()::xid").Scan(&committed); err != nil {
		t.Fatal(err)
	}
	snapshot, err := f.source.TakeSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close(t.Context())
	if _, err := running.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := f.conn.QueryRow(t.Context(), "SELECT pg_current_xact_id()::xid").Scan(&later); err != nil {
		t.Fatal(err)
	}
	for xid, want := range map[uint32]bool{xid: false, committed: true, later: false} {
		if got, err := snapshot.Sees(xid); got != want || err != nil {
			t.Errorf("sees(%d) = %v, %v", xid, got, err)
		}
	}
	if err := snapshot.Check(t.Context()); err != nil {
		t.Error(err)
	}
}
