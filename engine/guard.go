package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leat-etl/leat/engine/postgres"
)

// guardInterval is how often the log that a slot keeps is measured.
const guardInterval = 5 * time.Second

// warnInterval is how often it is said that a slot keeps too much, unless it keeps
// twice as much as when it was said last.
const warnInterval = 5 * time.Minute

// budgetError says that a slot keeps more log at the source than the pipeline
// file allows.
type budgetError struct {
	database, slot   string
	retained, budget int64
}

func (e *budgetError) Error() string {
	return fmt.Sprintf("slot %q of database %q keeps %d bytes of log, more than wal_budget (%d)", e.slot, e.database, e.retained, e.budget)
}

// guard watches how much log the lane's slot keeps at the source, also while
// the lane loads, waits for the destination or tries again. It has a
// connection of its own; what it cannot ask it asks the next time.
func (l *lane) guard(ctx context.Context) error {
	tick := time.NewTicker(guardInterval)
	defer tick.Stop()
	var source *postgres.Source
	defer func() {
		if source != nil {
			_ = source.Close(context.WithoutCancel(ctx)) // only read from
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if source == nil {
			cfg, err := SourceConfig(l.p.Spec)
			if err != nil {
				return err
			}
			if source, err = l.p.openAny(ctx, cfg, l.database); err != nil {
				source = nil
				continue
			}
		}
		name, _ := names(l.p.Spec, l.database)
		slot, err := source.Slot(ctx, name)
		if err != nil { // the lane itself meets the failure, perhaps goes to another of the hosts
			_ = source.Close(context.WithoutCancel(ctx))
			source = nil
		}
		if slot == nil {
			continue
		}
		if err := l.measureSlot(name, slot); err != nil {
			return err
		}
	}
}

// openAny connects to a database or, where it takes no connection, to another one
// of the pipeline: slots are those of the server.
func (p *Pipeline) openAny(ctx context.Context, cfg *postgres.Config, database string) (*postgres.Source, error) {
	source, err := postgres.Open(ctx, cfg, database)
	for _, other := range Databases(p.Spec) {
		if noConnection(err) == nil {
			break
		}
		if other != database {
			source, err = postgres.Open(ctx, cfg, other)
		}
	}
	return source, err
}

// measureSlot notes how much log the slot keeps and holds it against the
// budget.
func (l *lane) measureSlot(name string, slot *postgres.Slot) error {
	end := slot.RestartLSN + uint64(slot.RetainedBytes)
	l.end.Store(end)
	l.sayAwaits(slot)
	budget := int64(l.p.Spec.Source.WALBudget)
	if budget == 0 || slot.RetainedBytes <= budget {
		l.pausedAt, l.warnedAt = 0, 0
		l.costs.age()
		return nil
	}
	if l.spooling.Load() && l.p.Spec.Source.WALBudgetAction == "spool" {
		return nil // it is taken up when the session sees it
	}
	over := &budgetError{l.database, name, slot.RetainedBytes, budget}
	// The slot may also keep log of open transactions, which neither a spool nor a
	// pause lets go.
	behind := int64(end - slot.ConfirmedFlushLSN)
	switch l.p.Spec.Source.WALBudgetAction {
	case "drop_slot":
		return over
	case "spool":
		l.spooling.Store(behind > budget)
	}
	if slot.RetainedBytes > 2*l.warnedAt || time.Since(l.warnedOver) > warnInterval {
		l.warnedAt, l.warnedOver = slot.RetainedBytes, time.Now()
		l.log.Warn("the slot keeps more log at the source than wal_budget", "slot", name, "retained", slot.RetainedBytes, "budget", budget)
	}
	if l.p.Spec.Source.WALBudgetAction == "pause_object" {
		return l.pauseDearest(over, behind)
	}
	return nil
}

// sayAwaits shows what the slot keeps, and which standbys hold it back.
func (l *lane) sayAwaits(slot *postgres.Slot) {
	awaits, fix := "", ""
	if slot.Awaits != "" {
		awaits = fmt.Sprintf("the server sends no further change until the standbys of the slots %s have it (synchronized_standby_slots)", slot.Awaits)
		fix = "bring them back, or, if they are gone for good, take them out at the source: ALTER SYSTEM SET synchronized_standby_slots = '...'; SELECT pg_reload_conf();"
	}
	if slot.Awaits != l.awaits && slot.Awaits != "" {
		l.log.Warn(awaits, fixAttr(fix))
	}
	l.awaits = slot.Awaits
	l.progress(func(d *DatabaseProgress) {
		d.RetainedWAL, d.Awaits, d.AwaitsFix = slot.RetainedBytes, awaits, fix
		if d.Phase == "retrying" && !d.Durable.IsZero() && l.p.Spec.Source.WALBudgetAction != "spool" { // no stream measures it, and the slot passes only what the destination has
			d.LagBytes = max(0, int64(l.end.Load())-int64(max(d.Durable.LSN, slot.ConfirmedFlushLSN)))
		}
	})
}

// dropOverBudget gives the source's disk priority over the pipeline: it drops
// the slot, after which everything has to be loaded again.
func (p *Pipeline) dropOverBudget(ctx context.Context, over *budgetError) error {
	cfg, err := SourceConfig(p.Spec)
	if err != nil {
		return errors.Join(over, err)
	}
	err = persist(ctx, p.log, "drop slot "+over.slot, 0, func(ctx context.Context) error {
		source, err := p.openAny(ctx, cfg, over.database)
		if err != nil {
			return err
		}
		return errors.Join(source.DropSlot(ctx, over.slot), source.Close(ctx))
	})
	if err != nil {
		return errors.Join(over, err)
	}
	return &GapError{over.database, over.Error() + "; wal_budget_action = \"drop_slot\" dropped it",
		"leat run --resync loads every table again; a larger wal_budget or more room at the source keeps it from happening"}
}
