package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/capability"
)

// pauses collects what persist logs of its waits.
type pauses struct {
	slog.Handler
	t    *testing.T
	seen []time.Duration
}

func (p *pauses) Enabled(context.Context, slog.Level) bool { return true }

func (p *pauses) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "in" {
			d, err := time.ParseDuration(a.Value.String())
			if err != nil {
				p.t.Error(err)
			}
			p.seen = append(p.seen, d)
		}
		return true
	})
	return nil
}

// TestPausesDoNotGrowWhileTablesChange: a destination that changes tables apart
// from rows refuses a delivery for each change that it meets in it.
func TestPausesDoNotGrowWhileTablesChange(t *testing.T) {
	for _, own := range []bool{true, false} {
		refused := &capability.Error{Class: capability.Connection, Message: "the delivery is made again", Own: own}
		seen, runs := &pauses{t: t}, 0
		err := persist(t.Context(), slog.New(seen), "replication", 0, func(context.Context) error {
			if runs++; runs > 3 {
				return nil
			}
			return fmt.Errorf("make table: %w", refused)
		})
		if err != nil || len(seen.seen) != 3 {
			t.Fatalf("pauses %v, %v", seen.seen, err)
		}
		if last := seen.seen[2]; own != (last <= firstPause*3/2) {
			t.Errorf("said by the plugin itself %v: the third pause lasts %s", own, last)
		}
	}
}

// TestPausesBeginAnewAfterProgress: sessions that are short but bring rows to
// the destination must not wait longer and longer.
func TestPausesBeginAnewAfterProgress(t *testing.T) {
	lost := &postgres.Error{Op: "read log of", Object: "slot", Class: postgres.Retry, Err: errors.New("connection lost")}
	for _, advances := range []bool{true, false} {
		p := &Pipeline{progress: newProgress()}
		seen, runs := &pauses{t: t}, 0
		err := persist(t.Context(), slog.New(seen), "replication", 0, func(context.Context) error {
			return p.advancing("shop", func() error {
				if runs++; runs > 3 {
					return nil
				}
				if advances {
					p.progress.table(batch.TableID{Database: "shop", Name: "a"}, func(t *TableProgress) { t.Loaded++ })
				}
				return lost
			})
		})
		if err != nil || len(seen.seen) != 3 {
			t.Fatalf("pauses %v, %v", seen.seen, err)
		}
		if last := seen.seen[2]; advances != (last <= firstPause*3/2) {
			t.Errorf("advancing %v: the third pause lasts %s", advances, last)
		}
	}
}

// TestKnocksWhereNobodyAnswers tries often again only where that may help at any
// moment.
func TestKnocksWhereNobodyAnswers(t *testing.T) {
	for _, c := range []struct {
		err  error
		want time.Duration
	}{
		{&postgres.Error{Code: postgres.CodeUnreachable, Class: postgres.Retry}, knockPause},
		{&postgres.Error{SQLState: "57P03", Class: postgres.Retry}, knockPause},
		{fmt.Errorf("commit: %w", &capability.Error{Class: capability.Connection}), knockPause},
		{&postgres.Error{SQLState: "53300", Class: postgres.Retry}, lastPause},
		{&capability.Error{Class: capability.Resource}, lastPause},
	} {
		if got := longestPause(c.err); got != c.want {
			t.Errorf("%+v: at most %s, want %s", c.err, got, c.want)
		}
	}
}
