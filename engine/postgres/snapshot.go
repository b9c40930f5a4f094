package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Snapshot is one moment of a database, held open by a transaction, that any
// number of readers share.
type Snapshot struct {
	// Name is the exported snapshot's.
	Name string
	// Timeline and LSN are the position of what is read. For the snapshot of
	// CreateSlot it is exact: everything committed at or before LSN is in it,
	// nothing later. For one of TakeSnapshot it is the end of the log just
	// before; a transaction around it may be on either side: ask Sees.
	Timeline uint32
	LSN      uint64
	// Time is when it was taken, microseconds since 1970.
	Time int64
	// Visible is the snapshot as pg_snapshot text (xmin:xmax:running). A
	// chunk's ledger keeps it for Chunk.CatchUp.
	Visible string

	source *Source
	keeper *pgx.Conn
}

// TakeSnapshot opens a snapshot of now, for a load beside a running stream or
// after a restart.
func (s *Source) TakeSnapshot(ctx context.Context) (*Snapshot, error) {
	return s.keepSnapshot(ctx, "", 0)
}

// keepSnapshot opens the transaction that holds a snapshot: the exported one
// called imported, or a new one.
func (s *Source) keepSnapshot(ctx context.Context, imported string, lsn uint64) (*Snapshot, error) {
	keeper, err := s.cfg.Connect(ctx, s.Database)
	if err != nil {
		return nil, err
	}
	out := &Snapshot{LSN: lsn, Time: time.Now().UnixMicro(), source: s, keeper: keeper}
	if err := out.open(ctx, imported); err != nil {
		keeper.Close(ctx)
		return nil, wrap("open snapshot of", "database "+s.Database, err)
	}
	return out, nil
}

func (p *Snapshot) open(ctx context.Context, imported string) error {
	var end uint64
	if err := p.keeper.QueryRow(ctx, "SELECT "+timelineAndEnd).Scan(&p.Timeline, &end); err != nil {
		return err
	}
	if p.LSN == 0 {
		p.LSN = end
	}
	if _, err := p.keeper.Exec(ctx, beginSQL(imported)); err != nil {
		return err
	}
	return p.keeper.QueryRow(ctx, `SELECT pg_catalog.pg_export_snapshot(), pg_catalog.txid_current_snapshot()::text`).Scan(&p.Name, &p.Visible)
}

// beginSQL starts a transaction that sees the exported snapshot, or a new one.
// row_security off turns rows that a policy would hide into an error.
func beginSQL(snapshot string) string {
	sql := "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
	if snapshot != "" {
		sql += " SET TRANSACTION SNAPSHOT " + quoteLiteral(snapshot) + ";"
	}
	return sql + " SET LOCAL row_security = off;"
}

// Check says whether the snapshot is still held; a lost keeper is an error of
// class Retry, after which a new snapshot continues the load.
func (p *Snapshot) Check(ctx context.Context) error {
	return wrap("check snapshot", p.Name, p.keeper.Ping(ctx))
}

// Close ends the transaction. A chunk that is being read is read to its end.
func (p *Snapshot) Close(ctx context.Context) error { return p.keeper.Close(ctx) }

// Sees says whether a transaction that committed is part of the snapshot. xid
// is a top-level transaction's, as the log's Begin message has it.
func (p *Snapshot) Sees(xid uint32) (bool, error) {
	v, err := parseVisible(p.Visible)
	if err != nil {
		return false, err
	}
	return v.sees(xid), nil
}

// visible is a parsed pg_snapshot: transactions before xmin have ended, those
// from xmax on have not begun, the running ones lie between.
type visible struct {
	xmin, xmax uint64
	running    []uint64
}

func parseVisible(text string) (visible, error) {
	var v visible
	part := strings.Split(text, ":")
	fail := func() (visible, error) {
		return visible{}, fmt.Errorf("snapshot %q: want xmin:xmax:running", text)
	}
	if len(part) != 3 {
		return fail()
	}
	var err error
	if v.xmin, err = strconv.ParseUint(part[0], 10, 64); err != nil {
		return fail()
	}
	if v.xmax, err = strconv.ParseUint(part[1], 10, 64); err != nil {
		return fail()
	}
	if part[2] == "" {
		return v, nil
	}
	for _, r := range strings.Split(part[2], ",") {
		xid, err := strconv.ParseUint(r, 10, 64)
		if err != nil {
			return fail()
		}
		v.running = append(v.running, xid)
	}
	return v, nil
}

// sees takes the epoch of xid to be the one that brings it nearest to xmax:
// transaction numbers in use span less than half of their 32 bits.
func (v visible) sees(xid uint32) bool {
	full := v.xmax + uint64(int64(int32(xid-uint32(v.xmax))))
	return full < v.xmin || full < v.xmax && !slices.Contains(v.running, full)
}
