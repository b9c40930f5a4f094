package shop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Writer keeps a sample database changing.
type Writer struct {
	// DSN is the database to write to.
	DSN string
	// Rate is how many transactions are wanted a second, 0 for as many as the
	// server takes.
	Rate int
	// Seed decides what is written.
	Seed uint64

	transactions, inserted, updated, deleted, truncated atomic.Int64
}

// Written counts what a Writer has committed: rows by operation, whole
// transactions, and TRUNCATE statements.
type Written struct {
	Transactions, Inserted, Updated, Deleted, Truncated int64
}

// Written returns the counts so far. It may be called while Run runs.
func (w *Writer) Written() Written {
	return Written{w.transactions.Load(), w.inserted.Load(), w.updated.Load(), w.deleted.Load(), w.truncated.Load()}
}

// Run writes until ctx ends, which is no error.
func (w *Writer) Run(ctx context.Context) error {
	err := w.run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (w *Writer) run(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, w.DSN)
	if err != nil {
		return fmt.Errorf("write to the shop: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "SELECT setseed($1)", float64(w.Seed%1000)/1000); err != nil {
		return fmt.Errorf("write to the shop: %w", err)
	}
	due := make(<-chan time.Time)
	if w.Rate > 0 {
		tick := time.NewTicker(time.Second / time.Duration(w.Rate))
		defer tick.Stop()
		due = tick.C
	}
	random := rand.New(rand.NewPCG(w.Seed, w.Seed))
	for i := 0; ; i++ {
		if err := w.step(ctx, conn, i, random); err != nil {
			return err
		}
		if w.Rate == 0 {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		select {
		case <-due:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// truncateEvery is the distance, in transactions, of two TRUNCATEs of carts.
const truncateEvery = 500

// step runs one transaction: every kind in turn at first, so that a short run
// has all of them, then at random by weight.
func (w *Writer) step(ctx context.Context, conn *pgx.Conn, i int, random *rand.Rand) error {
	work := works[i%len(works)]
	if i >= len(works) {
		work = works[weighted[random.IntN(len(weighted))]]
	}
	if i%truncateEvery == truncateEvery/10 {
		work = emptyCarts
	}
	counts := Written{}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		counts = Written{}
		for _, c := range work.statements {
			tag, err := tx.Exec(ctx, c.sql)
			if err != nil {
				return err
			}
			counts.add(tag.RowsAffected(), c.kind)
		}
		if work.rollback {
			return errRollback
		}
		return nil
	})
	if errors.Is(err, errRollback) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write to the shop: %s: %w", work.name, err)
	}
	w.transactions.Add(1)
	w.inserted.Add(counts.Inserted)
	w.updated.Add(counts.Updated)
	w.deleted.Add(counts.Deleted)
	w.truncated.Add(counts.Truncated)
	return nil
}

var errRollback = errors.New("taken back on purpose")

func (c *Written) add(rows int64, k kind) {
	switch k {
	case insert:
		c.Inserted += rows
	case update:
		c.Updated += rows
	case remove:
		c.Deleted += rows
	case truncate:
		c.Truncated++
	}
}
