// Package workload is the random work of the crash proof: transactions over
// tables of differing shapes, drawn from a seed. Equal seeds and options give
// equal statements.
//
// It knows which keys live, so that every statement succeeds and hits rows.
// What it does: inserts of one row and of many, re-inserts of deleted keys,
// updates that leave large values unchanged and updates that do not, changes
// of keys, swaps of two keys inside one transaction, deletes, TRUNCATE of one
// table and of several, transactions over many tables, savepoints taken back
// and kept, whole transactions taken back, and ADD COLUMN with and without a
// default.
package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Options say what a workload may do.
type Options struct {
	// Schema holds the tables; empty is public. It must exist.
	Schema string
	// NoTruncate and NoDDL leave out TRUNCATE and ALTER TABLE.
	NoTruncate, NoDDL bool
	// OnlyAdded lets ALTER TABLE only add columns.
	OnlyAdded bool
	// Alters is how many of 1000 changes are an ALTER TABLE; 6 if it is 0.
	Alters int
	// Keys lets ALTER TABLE change primary keys and replica identities too, so
	// that an UPDATE never fails.
	Keys bool
	// FlatArrays leaves out arrays of several dimensions, which lists of
	// DuckDB cannot hold.
	FlatArrays bool
	// Rows bounds the rows of a table with a key, about; 400 if it is 0.
	Rows int
}

// Tables are the names of the workload's tables. All but Journal have a
// primary key.
const (
	Accounts  = "wl_accounts"  // integer key
	Places    = "wl_places"    // key of text and uuid
	Profiles  = "wl_profiles"  // bigint key, REPLICA IDENTITY FULL
	Documents = "wl_documents" // integer key, large values outside the row
	Journal   = "wl_journal"   // no key, rows are only inserted
)

// Tables lists all tables.
var Tables = []string{Accounts, Places, Profiles, Documents, Journal}

// keptSteps is how many transactions Log shows.
const keptSteps = 40

// Workload draws and runs transactions. It belongs to one goroutine.
type Workload struct {
	seed    int64
	options Options
	random  *rand.Rand
	next    int // the number of the next fresh key, never given twice
	model   model
	stale   bool // a step failed: the model may not be what the server has
	steps   int
	log     []string
}

// New returns a workload that has done nothing yet.
func New(seed int64, o Options) *Workload {
	if o.Rows == 0 {
		o.Rows = 400
	}
	if o.Alters == 0 {
		o.Alters = 6
	}
	if o.Schema == "" {
		o.Schema = "public"
	}
	return &Workload{seed: seed, options: o, random: rand.New(rand.NewPCG(uint64(seed), 1)), model: newModel()}
}

// Create makes the tables, empty.
func (w *Workload) Create(ctx context.Context, conn *pgx.Conn) error {
	for _, s := range shapes {
		if _, err := conn.Exec(ctx, strings.ReplaceAll(s.create, "%T", w.table(s))); err != nil {
			return fmt.Errorf("create table %s: %w", s.name, err)
		}
	}
	return nil
}

func (w *Workload) table(s *shape) string {
	return pgx.Identifier{w.options.Schema, s.name}.Sanitize()
}

// Step runs one transaction. After an error the workload asks the server at
// its next step which rows there are, so that a step whose commit was cut off
// does no harm.
func (w *Workload) Step(ctx context.Context, conn *pgx.Conn) error {
	if w.stale {
		if err := w.reload(ctx, conn); err != nil {
			return err
		}
	}
	t := w.draw()
	w.steps++
	w.log = append(w.log, fmt.Sprintf("-- step %d\n%s;", w.steps, strings.Join(t.statements, ";\n")))
	if over := len(w.log) - keptSteps; over > 0 {
		w.log = slices.Delete(w.log, 0, over)
	}
	for _, sql := range t.statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			w.stale = true
			if !conn.IsClosed() {
				conn.Exec(context.WithoutCancel(ctx), "ROLLBACK") // err is what counts
			}
			return fmt.Errorf("step %d of workload with seed %d: run %q: %w", w.steps, w.seed, sql, err)
		}
	}
	if t.commits {
		w.model = t.model
	}
	return nil
}

// Run runs n steps, or steps until ctx ends where n is 0; ctx's end is an
// error only where n is not 0.
func (w *Workload) Run(ctx context.Context, conn *pgx.Conn, n int) error {
	for i := 0; n == 0 || i < n; i++ {
		if n == 0 && ctx.Err() != nil {
			return nil
		}
		if err := w.Step(ctx, conn); err != nil {
			if n == 0 && ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	return nil
}

// Touch writes a row into every table, so that the log tells how each is by
// now.
func (w *Workload) Touch(ctx context.Context, conn *pgx.Conn) error {
	for i, s := range shapes {
		t := &transaction{w: w, r: w.random, model: w.model.clone(), commits: true}
		t.insert(s, &t.model.tables[i], 1)
		for _, sql := range t.statements {
			if _, err := conn.Exec(ctx, sql); err != nil {
				w.stale = true
				return fmt.Errorf("touch with seed %d: run %q: %w", w.seed, sql, err)
			}
		}
		w.model = t.model
	}
	return nil
}

// Seed is what New was given.
func (w *Workload) Seed() int64 { return w.seed }

// Steps is how many transactions were begun.
func (w *Workload) Steps() int { return w.steps }

// Log prints the seed and the last transactions, as SQL that can be run.
func (w *Workload) Log() string {
	return fmt.Sprintf("-- workload seed %d, the last %d of %d steps\n%s\n", w.seed, len(w.log), w.steps, strings.Join(w.log, "\n"))
}

// reload brings the model to what the server has.
func (w *Workload) reload(ctx context.Context, conn *pgx.Conn) error {
	m := newModel()
	for i, s := range shapes {
		rows, err := conn.Query(ctx, `SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = $1::regclass AND attname ~ '^(added|renamed)_' AND NOT attisdropped ORDER BY attnum`,
			w.table(s))
		if err == nil {
			m.tables[i].extras, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e extra, err error) { return e, row.Scan(&e.name, &e.typ) })
		}
		if err != nil {
			return fmt.Errorf("reload model of %s: %w", s.name, err)
		}
		m.tables[i].brought, m.tables[i].altered = w.model.tables[i].brought, w.model.tables[i].altered
		for _, e := range m.tables[i].extras {
			m.tables[i].brought = max(m.tables[i].brought, e.number())
		}
		if len(s.key) == 0 {
			continue
		}
		if m.tables[i].identity, err = readIdentity(ctx, conn, w.table(s)); err != nil {
			return fmt.Errorf("reload model of %s: %w", s.name, err)
		}
		parts := make([]string, len(s.key))
		for j, k := range s.key {
			parts[j] = fmt.Sprintf("quote_literal(%s)", k.name)
		}
		rows, err = conn.Query(ctx, fmt.Sprintf("SELECT ARRAY[%s] FROM %s ORDER BY 1", strings.Join(parts, ", "), w.table(s)))
		if err != nil {
			return fmt.Errorf("reload model of %s: %w", s.name, err)
		}
		if m.tables[i].live, err = pgx.CollectRows(rows, pgx.RowTo[key]); err != nil {
			return fmt.Errorf("reload model of %s: %w", s.name, err)
		}
	}
	w.model, w.stale = m, false
	return nil
}
