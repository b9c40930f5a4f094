package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/leat-etl/leat/engine/postgres"
)

// spillDir is where the stream of the lane keeps what is not committed.
func (l *lane) spillDir() string { return filepath.Join(l.p.stateDir, "spill", l.record.Slot) }

// startOfLog is where the server begins to send: at the slot's own place. It was
// not let past prepared transactions that are not delivered, and sends them only
// from there; and where the slot has gone back, what comes again proves that the
// log is still the same.
func (l *lane) startOfLog(ctx context.Context) (uint64, error) {
	slot, err := l.source.Slot(ctx, l.record.Slot)
	if err != nil {
		return 0, err
	}
	if slot == nil {
		return 0, &GapError{l.database, fmt.Sprintf("slot %q was dropped just now", l.record.Slot), "start again to see what can be done"}
	}
	if l.p.Spec.Source.TwoPhase && l.source.Version < 150000 {
		return 0, &postgres.Error{Op: "open stream of slot", Object: slot.Name, Class: postgres.Stop,
			Err:  fmt.Errorf("two_phase = true: server version %d cannot send prepared transactions", l.source.Version/10000),
			Hint: "Leave out two_phase: prepared transactions then come at their COMMIT PREPARED."}
	}
	if slot.Active { // it may still move
		return 0, &postgres.Error{Op: "open stream of slot", Object: strconv.Quote(slot.Name), Class: postgres.Retry,
			Err:    fmt.Errorf("it is in use by process %d of the server", slot.ActivePID),
			Causes: []string{"Another session reads the slot, or the last one has not ended yet."},
			Hint:   "SELECT slot_name, active_pid FROM pg_replication_slots WHERE active;"}
	}
	return slot.ConfirmedFlushLSN, nil
}

// textLog is what the stream of a slot of test_decoding needs, nil for one of
// pgoutput.
func (l *lane) textLog() *postgres.TextLog {
	if l.decoder() != string(postgres.TestDecoding) {
		return nil
	}
	return &postgres.TextLog{Tables: l.tables, Columns: l.source.LoggedColumns}
}

func (l *lane) decoder() string { return l.p.Spec.Source.Decoder }

// again is how to begin anew where the log has a gap.
func (l *lane) again(slot string) string {
	drops := ""
	if slot != "" {
		drops = fmt.Sprintf("drops slot %q and ", slot)
	}
	return fmt.Sprintf("leat run --resync %sloads every table again beside what is at the destination; rows that are gone from the source are treated there as after a TRUNCATE", drops)
}
