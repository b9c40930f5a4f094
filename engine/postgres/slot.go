package postgres

import (
	"context"
	"fmt"
	"regexp"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/leat-etl/leat/engine/batch"
)

// Slot is a replication slot as the server shows it.
type Slot struct {
	Name              string `json:"name"`
	Plugin            string `json:"plugin"`
	Database          string `json:"database"`
	Active            bool   `json:"active"`
	ActivePID         int    `json:"active_pid,omitempty"`
	Temporary         bool   `json:"temporary,omitempty"`
	RestartLSN        uint64 `json:"restart_lsn"`
	ConfirmedFlushLSN uint64 `json:"confirmed_flush_lsn"`
	// WALStatus is reserved, extended, unreserved or lost; empty before
	// PostgreSQL 13.
	WALStatus string `json:"wal_status,omitempty"`
	// SafeWALSize is how many bytes may still be written before the slot is
	// in danger, nil for no limit.
	SafeWALSize *int64 `json:"safe_wal_size,omitempty"`
	// RetainedBytes is the log that the server keeps for the slot.
	RetainedBytes int64 `json:"retained_bytes"`
	// TwoPhase says that prepared transactions come at their PREPARE, once for
	// all (PostgreSQL 14 and later).
	TwoPhase bool `json:"two_phase,omitempty"`
	// Failover says that standbys keep a copy of the slot, Synced that this is
	// such a copy (PostgreSQL 17 and later).
	Failover bool `json:"failover,omitempty"`
	Synced   bool `json:"synced,omitempty"`
	// Invalidated is why the server gave the slot up: wal_removed,
	// rows_removed, wal_level_insufficient or idle_timeout (PostgreSQL 17 and
	// later; conflict on 16).
	Invalidated string `json:"invalidated,omitempty"`
	// Awaits are the slots of standbys that are not connected and without which the
	// server sends nothing new through this one, in synchronized_standby_slots
	// (PostgreSQL 17 and later).
	Awaits string `json:"awaits,omitempty"`
}

const awaitedStandbys = `coalesce(CASE WHEN failover AND NOT pg_catalog.pg_is_in_recovery() THEN (SELECT string_agg(name, ', ')
	FROM (SELECT trim(both ' "' FROM unnest(string_to_array(current_setting('synchronized_standby_slots'), ','))) AS name) AS listed
	WHERE name <> '' AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_replication_slots s
		WHERE s.slot_name = listed.name AND (s.active OR s.restart_lsn >= pg_catalog.pg_current_wal_lsn()))) END, '')`

// Lost says whether log that the slot needs is gone, so that a stream from it
// would have a gap.
func (s *Slot) Lost() bool { return s.WALStatus == "lost" || s.Invalidated != "" }

// WhyLost explains a slot that the server gave up.
func (s *Slot) WhyLost() string {
	switch s.Invalidated {
	case "rows_removed":
		return "rows_removed: the primary removed catalogue rows that the standby still needed; hot_standby_feedback = on and a physical slot prevent that"
	case "wal_level_insufficient":
		return "wal_level_insufficient: the primary's wal_level was not logical for a while"
	case "idle_timeout":
		return "idle_timeout: it was not read for longer than idle_replication_slot_timeout"
	case "conflict":
		return "it conflicted with the recovery of the standby, or max_slot_wal_keep_size was exceeded"
	}
	return "wal_status lost: max_slot_wal_keep_size was exceeded"
}

// Slot returns the slot called name, nil if there is none.
func (s *Source) Slot(ctx context.Context, name string) (*Slot, error) {
	var out *Slot
	err := s.do(ctx, func(conn *pgx.Conn) error {
		var err error
		out, err = readSlot(ctx, conn, s.Version, name)
		return err
	})
	return out, wrap("read slot", name, err)
}

func readSlot(ctx context.Context, conn *pgx.Conn, version int, name string) (*Slot, error) {
	status := "'', NULL::bigint"
	if version >= 130000 {
		status = "coalesce(wal_status, ''), safe_wal_size"
	}
	switch {
	case version >= 170000:
		status += ", two_phase, failover, synced, coalesce(invalidation_reason, ''), " + awaitedStandbys
	case version >= 160000:
		status += ", two_phase, false, false, CASE WHEN conflicting AND pg_catalog.pg_is_in_recovery() THEN 'conflict' ELSE '' END, ''"
	case version >= 140000:
		status += ", two_phase, false, false, '', ''"
	default:
		status += ", false, false, false, '', ''"
	}
	out := new(Slot)
	err := conn.QueryRow(ctx, fmt.Sprintf(`SELECT slot_name::text, coalesce(plugin::text, ''), coalesce(database::text, ''), active, coalesce(active_pid, 0),
			temporary, coalesce(restart_lsn - '0/0', 0)::bigint, coalesce(confirmed_flush_lsn - '0/0', 0)::bigint, %s,
			coalesce(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
				ELSE pg_catalog.pg_current_wal_lsn() END - restart_lsn, 0)::bigint
		FROM pg_catalog.pg_replication_slots WHERE slot_name = $1`, status), name).
		Scan(&out.Name, &out.Plugin, &out.Database, &out.Active, &out.ActivePID, &out.Temporary, &out.RestartLSN, &out.ConfirmedFlushLSN,
			&out.WALStatus, &out.SafeWALSize, &out.TwoPhase, &out.Failover, &out.Synced, &out.Invalidated, &out.Awaits, &out.RetainedBytes)
	if err == pgx.ErrNoRows {
		return nil, nil
	}
	return out, err
}

// System is the identity of the server. A position means something only on
// the system and the timeline that it came from.
type System struct {
	ID       uint64 `json:"id,string"`
	Timeline uint32 `json:"timeline"`
	// LSN is the end of the log.
	LSN uint64 `json:"lsn"`
	// Standby says that the server replays the log of another one. It takes no
	// publication and no heartbeat.
	Standby bool `json:"standby,omitempty"`
}

// System reads the identity of the server.
func (s *Source) System(ctx context.Context) (System, error) {
	var out System
	err := s.do(ctx, func(conn *pgx.Conn) error {
		var id int64
		err := conn.QueryRow(ctx, `SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()), pg_catalog.pg_is_in_recovery(), `+timelineAndEnd).
			Scan(&id, &out.Standby, &out.Timeline, &out.LSN)
		out.ID = uint64(id)
		return err
	})
	return out, wrap("read system identifier of", s.cfg.address(), err)
}

// timelineAndEnd selects the current timeline and the end of the log. The
// control file has the timeline of the last checkpoint; the name of the
// current segment starts with the one being written.
const timelineAndEnd = `CASE WHEN pg_catalog.pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())
		ELSE ('x' || left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8))::bit(32)::int END,
	(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
		ELSE pg_catalog.pg_current_wal_insert_lsn() END - '0/0')::bigint`

var slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// CreateSlot creates a logical slot for the decoder and returns the snapshot at
// its consistent point: what committed up to there is in the snapshot, what
// committed later comes through the slot. failover keeps the slot across a
// switch to a standby (PostgreSQL 17 and later; ignored before).
//
// The caller closes the snapshot once the historical load has ended. The slot
// stays until DropSlot: when a later step fails, drop it.
func (s *Source) CreateSlot(ctx context.Context, name string, failover bool) (*Snapshot, error) {
	if !slotName.MatchString(name) {
		return nil, settingsError(fmt.Errorf("slot name %q", name), "A slot name has 1 to 63 lower-case letters, digits and underscores.", "")
	}
	conn, err := s.connectPatient(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	options := "EXPORT_SNAPSHOT"
	if failover && s.Version >= 170000 {
		options = "(SNAPSHOT 'export', FAILOVER true)"
	}
	return s.exportSnapshot(ctx, conn, fmt.Sprintf("CREATE_REPLICATION_SLOT %s LOGICAL %s %s", quoteIdent(name), s.cfg.decoder(), options), name)
}

// exportSnapshot creates the slot called name and takes over its snapshot.
func (s *Source) exportSnapshot(ctx context.Context, conn *pgconn.PgConn, sql, name string) (*Snapshot, error) {
	leave := s.attend(ctx, conn, name)
	result, err := pglogrepl.ParseCreateReplicationSlot(conn.Exec(ctx, sql))
	if silent := leave(); silent != nil && err != nil {
		err = silent
		_ = s.FreeSlot(ctx, name, conn.PID()) // if this fails, too, the server holds the slot until its transactions end
	}
	if err != nil {
		e := Classify(err)
		e.Op, e.Object = "create slot", name
		e.fillIn(s.cfg, s.Database)
		return nil, e
	}
	lsn, err := batch.ParseLSN(result.ConsistentPoint)
	if err != nil {
		return nil, fmt.Errorf("create slot %q: %w", name, err)
	}
	// The exported snapshot lives as long as this connection does nothing
	// else; the keeper takes it over and hands it on under its own name.
	return s.keepSnapshot(ctx, result.SnapshotName, lsn)
}

// ExactSnapshot opens a snapshot of now whose LSN is exact, as that of
// CreateSlot is, by way of a temporary slot.
func (s *Source) ExactSnapshot(ctx context.Context) (*Snapshot, error) {
	conn, err := s.connectPatient(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	name := fmt.Sprintf("leat_snapshot_%d", conn.PID())
	return s.exportSnapshot(ctx, conn, fmt.Sprintf("CREATE_REPLICATION_SLOT %s TEMPORARY LOGICAL %s EXPORT_SNAPSHOT", name, s.cfg.decoder()), name)
}

// DropSlot removes a slot; one that does not exist is no error. The server
// then no longer keeps log for it.
func (s *Source) DropSlot(ctx context.Context, name string) error {
	err := s.do(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1`, name)
		return err
	})
	return wrap("drop slot", name, err)
}

// FreeSlot ends the server's process pid if it still serves the slot: one that
// does not know yet that its reader is gone keeps the slot until
// wal_sender_timeout, and for ever where that is 0.
func (s *Source) FreeSlot(ctx context.Context, name string, pid uint32) error {
	err := s.do(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SELECT pg_catalog.pg_terminate_backend(active_pid) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND active_pid = $2`, name, pid)
		return err
	})
	return wrap("free slot", name, err)
}

// Heartbeat writes a logical message outside any transaction and returns its
// LSN. On a server whose other databases are busy it gives the stream
// something to acknowledge, so that the slot does not hold their log.
func (s *Source) Heartbeat(ctx context.Context, content string) (uint64, error) {
	var lsn uint64
	err := s.do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT (pg_catalog.pg_logical_emit_message(false, 'leat', $1::text) - '0/0')::bigint`, content).Scan(&lsn)
	})
	return lsn, wrap("write heartbeat to", "database "+s.Database, err)
}
