package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/capability"
)

// faultKind is what becomes of a host call.
type faultKind int

const (
	none    faultKind = iota
	refused           // the database refuses the statement; the connection stays
	lost              // the connection is lost before the statement runs
	unheard           // the statement runs, and the connection is lost before its answer
	late              // the answer comes after longer than the plugin may compute
)

// String names the kind as a point of the report does.
func (k faultKind) String() string {
	return [...]string{"nothing", "refused", "connection lost before it", "connection lost after it", "answered late"}[k]
}

// lateness is how long a late answer takes; the plugin's deadline, which does
// not count the time in host calls, is half of it: more than a busy machine
// needs for what the plugin computes by itself.
const lateness = 3 * time.Second

// fault strikes one host call of a trial, counted from 1 over all connections.
type fault struct {
	kind  faultKind
	at    int
	calls int
	hit   string // the call that was struck
}

// failing is a connection with a fault.
type failing struct {
	capability.SQL
	fault *fault
	lost  bool
}

var errLost = &capability.Error{Class: capability.Connection, Message: "the conformance kit has cut the connection", Hint: "open it again and go on from the checkpoint"}

// call runs one host call or does to it what the fault says. Where one of a
// plugin's own space or folder is lost, so is the connection, as by a kill.
func (f *failing) call(name string, do func() error) error {
	if f.lost {
		return errLost
	}
	if f.fault == nil {
		return do()
	}
	f.fault.calls++
	if f.fault.calls != f.fault.at {
		return do()
	}
	f.fault.hit = name
	switch f.fault.kind {
	case refused:
		return &capability.Error{Class: capability.Data, Code: "22000", Message: "the conformance kit has refused the " + name}
	case lost:
		f.lost = true
		return errLost
	case unheard:
		err := do()
		f.lost = true
		if err != nil {
			return fmt.Errorf("%w, after %w", errLost, err)
		}
		return errLost
	case late:
		time.Sleep(lateness)
	}
	return do()
}

// Exec implements capability.SQL.
func (f *failing) Exec(ctx context.Context, sql string) (n int64, err error) {
	err = f.call("statement", func() error {
		n, err = f.SQL.Exec(ctx, sql)
		return err
	})
	return n, err
}

// Query implements capability.SQL.
func (f *failing) Query(ctx context.Context, sql string) (rows *capability.Rows, err error) {
	err = f.call("query", func() error {
		rows, err = f.SQL.Query(ctx, sql)
		return err
	})
	return rows, err
}

// Ingest implements capability.SQL.
func (f *failing) Ingest(ctx context.Context, b *batch.Batch, in capability.Ingest) (n int64, err error) {
	err = f.call("ingest", func() error {
		n, err = f.SQL.Ingest(ctx, b, in)
		return err
	})
	return n, err
}

// Read implements capability.SQL.
func (f *failing) Read(ctx context.Context, sql string, yield func(arrow.RecordBatch) error) error {
	return f.call("read", func() error { return f.SQL.Read(ctx, sql, yield) })
}

// Begin implements capability.SQL.
func (f *failing) Begin(ctx context.Context) error {
	return f.call("begin", func() error { return f.SQL.Begin(ctx) })
}

// Commit implements capability.SQL.
func (f *failing) Commit(ctx context.Context) error {
	return f.call("commit", func() error { return f.SQL.Commit(ctx) })
}

// Rollback implements capability.SQL.
func (f *failing) Rollback(ctx context.Context) error {
	return f.call("rollback", func() error { return f.SQL.Rollback(ctx) })
}

// beside runs a call of what the plugin keeps beside the database.
func (t *trial) beside(name string, do func() error) error {
	err := t.sql.call(name, do)
	t.besideStruck = t.besideStruck || t.fault != nil && t.fault.hit == name
	return err
}

// failingKV is a space with the fault of a trial.
type failingKV struct {
	capability.KV
	trial *trial
}

// Get implements capability.KV.
func (f failingKV) Get(ctx context.Context, key string) (value []byte, err error) {
	err = f.trial.beside("kv_get", func() error {
		value, err = f.KV.Get(ctx, key)
		return err
	})
	return value, err
}

// Put implements capability.KV.
func (f failingKV) Put(ctx context.Context, key string, value []byte) error {
	return f.trial.beside("kv_put", func() error { return f.KV.Put(ctx, key, value) })
}

// Delete implements capability.KV.
func (f failingKV) Delete(ctx context.Context, key string) error {
	return f.trial.beside("kv_delete", func() error { return f.KV.Delete(ctx, key) })
}

// List implements capability.KV.
func (f failingKV) List(ctx context.Context, prefix string, limit int) (keys []string, err error) {
	err = f.trial.beside("kv_list", func() error {
		keys, err = f.KV.List(ctx, prefix, limit)
		return err
	})
	return keys, err
}

// failingFiles is a folder with the fault of a trial.
type failingFiles struct {
	capability.Files
	trial *trial
}

// Get implements capability.Files.
func (f failingFiles) Get(name string) (data []byte, err error) {
	err = f.trial.beside("blob_get", func() error {
		data, err = f.Files.Get(name)
		return err
	})
	return data, err
}

// Put implements capability.Files.
func (f failingFiles) Put(name string, data []byte) error {
	return f.trial.beside("blob_put", func() error { return f.Files.Put(name, data) })
}

// Delete implements capability.Files.
func (f failingFiles) Delete(name string) error {
	return f.trial.beside("blob_delete", func() error { return f.Files.Delete(name) })
}

// List implements capability.Files.
func (f failingFiles) List(prefix string, limit int) (names []string, err error) {
	err = f.trial.beside("blob_list", func() error {
		names, err = f.Files.List(prefix, limit)
		return err
	})
	return names, err
}

// faults fails each host call of a life of two tables in turn, in each way.
func (k *Kit) faults(ctx context.Context, score *Score) error {
	total, err := k.strike(ctx, score, &fault{kind: none})
	if err != nil || total == 0 {
		return err
	}
	stride := 1
	if k.Quick {
		stride = 7
	}
	for i, kind := range []faultKind{refused, lost, unheard} {
		for at := 1 + i*(stride/3); at <= total; at += stride {
			if _, err := k.strike(ctx, score, &fault{kind: kind, at: at}); err != nil {
				return err
			}
		}
	}
	for part := 1; part <= lateCalls; part++ {
		if _, err := k.strike(ctx, score, &fault{kind: late, at: max(1, total*part/(lateCalls+1))}); err != nil {
			return err
		}
	}
	return nil
}

// lateCalls is how many calls are answered late: each costs its lateness.
const lateCalls = 5

// strike tells the story with one fault and returns how many host calls it
// made, 0 where it did not end.
func (k *Kit) strike(ctx context.Context, score *Score, f *fault) (int, error) {
	t, err := k.newTrial(lifeOfTwoTables, f)
	if err != nil {
		return 0, err
	}
	t.restart = t.grants.KV != nil || t.grants.Blob != nil // what it keeps there is needed then
	err = errors.Join(t.deliverAll(ctx), t.close(ctx))
	name := "without a fault"
	if f.kind != none {
		name = fmt.Sprintf("host call %d (%s) %s", f.at, f.hit, f.kind)
	}
	score.point(name, err)
	calls := f.calls
	if err != nil {
		calls = 0
	}
	return calls, ctx.Err()
}
