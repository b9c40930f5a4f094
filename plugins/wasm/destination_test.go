package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/capability"
)

// recordedSQL is a database that writes down what it is asked and fails the
// call whose text contains failOn.
type recordedSQL struct {
	calls  []string
	failOn string
}

var errFull = &capability.Error{Class: capability.Resource, Code: "53100", Message: "disk full", Hint: "make room"}

func (r *recordedSQL) record(format string, args ...any) error {
	call := fmt.Sprintf(format, args...)
	r.calls = append(r.calls, call)
	if r.failOn != "" && strings.Contains(call, r.failOn) {
		return fmt.Errorf("ledger: %w", errFull)
	}
	return nil
}

func (r *recordedSQL) Exec(_ context.Context, sql string) (int64, error) {
	return 1, r.record("%s", sql)
}

func (r *recordedSQL) Query(_ context.Context, sql string) (*capability.Rows, error) {
	value := "1:0/64"
	return &capability.Rows{Columns: []string{"key", "value"}, Rows: [][]*string{{&sql, &value}, {&sql, nil}}}, r.record("%s", sql)
}

func (r *recordedSQL) Ingest(_ context.Context, b *batch.Batch, in capability.Ingest) (int64, error) {
	return int64(b.Len()), r.record("ingest %d into %s", b.Len(), in.Table)
}

func (r *recordedSQL) Read(context.Context, string, func(arrow.RecordBatch) error) error {
	return r.record("read")
}

func (r *recordedSQL) Ask(context.Context, string, func(arrow.RecordBatch) error) error {
	return r.record("ask")
}
func (r *recordedSQL) Tell(func(string))              {}
func (r *recordedSQL) Begin(context.Context) error    { return r.record("begin") }
func (r *recordedSQL) Commit(context.Context) error   { return r.record("commit") }
func (r *recordedSQL) Rollback(context.Context) error { return r.record("rollback") }
func (r *recordedSQL) Close() error                   { return nil }

func openLedger(t *testing.T, sql *recordedSQL, misbehave string) (*Destination, *DestinationPlan) {
	t.Helper()
	ctx := context.Background()
	p := Plugin{Name: "ledger", Version: "1", Config: json.RawMessage(`{"misbehave": "` + misbehave + `"}`), Limits: Limits{MemoryBytes: 64 << 20, Fuel: 200_000_000, Deadline: time.Minute}}
	d, err := newHost(t).Destination(ctx, build(t, "./testdata/ledger"), p, sql)
	if err != nil {
		t.Fatal(err)
	}
	info, err := d.Open(ctx, OpenInput{Pipeline: "shop"})
	if err != nil || info != (Info{Driver: "ledger", Compacts: true}) {
		t.Fatalf("open: %+v, %v", info, err)
	}
	plan, err := d.Plan(ctx, customers("shop"))
	if err != nil {
		t.Fatal(err)
	}
	return d, plan
}

func wantCalls(t *testing.T, sql *recordedSQL, want ...string) {
	t.Helper()
	if !reflect.DeepEqual(sql.calls, want) {
		t.Errorf("the database was asked\n%s\nwant\n%s", strings.Join(sql.calls, "\n"), strings.Join(want, "\n"))
	}
}

func TestDestinationWritesAndCommits(t *testing.T) {
	ctx := context.Background()
	sql := &recordedSQL{}
	d, p := openLedger(t, sql, "")
	if p.Table != `"customers"` || len(p.Columns) != 4 || p.Columns[3].Source != "scores" || p.Statements[0] != "CREATE customers" {
		t.Fatalf("plan is %+v", p)
	}
	if err := d.Write(ctx, p, customerBatch(customers("shop"), mixed...)); err != nil {
		t.Fatal(err)
	}
	value := "1:0/64"
	if err := d.Commit(ctx, []Checkpoint{{"position", &value}, {"old", nil}}); err != nil {
		t.Fatal(err)
	}
	entries, err := d.Checkpoint(ctx)
	if err != nil || len(entries) != 2 || *entries[0].Value != value || entries[1].Value != nil {
		t.Fatalf("checkpoint: %+v, %v", entries, err)
	}
	if err := d.Close(ctx); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, sql, "begin", `ingest 5 into "customers"`, "INSERT 5 of 5 absent [1 2] at 1:0/64", "SET position 1:0/64", "SET old gone", "commit", "SELECT checkpoints")
}

func TestDatabaseErrorsPassThroughTheGuest(t *testing.T) {
	ctx := context.Background()
	for _, at := range []string{"ingest", "INSERT", "commit", "SELECT"} {
		sql := &recordedSQL{failOn: at}
		d, p := openLedger(t, sql, "")
		err := d.Write(ctx, p, customerBatch(customers("shop"), mixed...))
		if err == nil {
			err = d.Commit(ctx, nil)
		}
		if err == nil {
			_, err = d.Checkpoint(ctx)
		}
		var e *capability.Error
		if !errors.As(err, &e) || *e != *errFull {
			t.Errorf("%s: error is %v", at, err)
		}
		if e := wantError(t, err, KindGuest, "disk full"); e.Hint() != "" {
			t.Errorf("beside the database's own hint stands %q", e.Hint())
		}
		if err := d.Rollback(ctx); err != nil {
			t.Error(err)
		}
		if got := d.Stats().Recycled; got != 0 {
			t.Errorf("%s: %d instances recycled for an error of the database", at, got)
		}
	}
}

func TestAFailedInstanceIsRolledBackAndReplaced(t *testing.T) {
	ctx := context.Background()
	sql := &recordedSQL{}
	d, p := openLedger(t, sql, "loop")
	b := customerBatch(customers("shop"), mixed...)
	e := wantError(t, d.Write(ctx, p, b), KindFuel, "used up its 200000000 units of fuel")
	if e.Table != "shop.public.customers" || e.Position != b.Position || e.Op != "write" {
		t.Errorf("error is %+v", e)
	}
	if hint := e.Hint(); !strings.Contains(hint, "limits = {") || !strings.Contains(hint, "run again") || !strings.Contains(hint, "nothing is lost") {
		t.Errorf("what to do is %q", hint)
	}
	wantCalls(t, sql, "begin", "rollback")
	if err := d.Commit(ctx, nil); err != nil {
		t.Fatalf("the replacement does not work: %v", err)
	}
	wantError(t, d.Write(ctx, p, b), KindFuel, "")
	if s := d.Stats(); s.Instances != 2 || s.Recycled != 2 {
		t.Errorf("stats are %+v", s)
	}
}

func TestAPanicIsAnErrorWithItsPlace(t *testing.T) {
	ctx := context.Background()
	d, p := openLedger(t, &recordedSQL{}, "panic")
	e := wantError(t, d.Write(ctx, p, customerBatch(customers("shop"), mixed...)), KindGuest, "index out of range [4] with length 0 [main.go:")
	if hint := e.Hint(); !strings.Contains(hint, "mended version") || !strings.Contains(hint, "run again") || !strings.Contains(hint, "nothing is lost") {
		t.Errorf("what to do is %q", hint)
	}
}

// TestARefusedPlanSaysWhatToDo: one table that a destination does not take ends
// the run.
func TestARefusedPlanSaysWhatToDo(t *testing.T) {
	d, _ := openLedger(t, &recordedSQL{}, "")
	s := customers("shop")
	s.Table.Name = "nowhere"
	_, err := d.Plan(context.Background(), s)
	other, err2 := newHost(t).Destination(context.Background(), build(t, "./testdata/ledger"), Plugin{Name: "ledger", Config: json.RawMessage(`{"misbehave": 1}`)}, &recordedSQL{})
	if err2 != nil {
		t.Fatal(err2)
	}
	_, err2 = other.Open(context.Background(), OpenInput{Pipeline: "shop"})
	if e := wantError(t, err2, KindGuest, "misbehave"); e.Hint() != "" {
		t.Errorf("beside what is wrong with the settings stands %q", e.Hint())
	}
	if e := wantError(t, err, KindGuest, "no place for nowhere"); !strings.Contains(e.Hint(), "leat objects skip FILE shop.public.nowhere") {
		t.Errorf("what to do is %q", e.Hint())
	}
}

func TestABatchHandleEndsWithItsWrite(t *testing.T) {
	ctx := context.Background()
	d, p := openLedger(t, &recordedSQL{}, "keep")
	b := customerBatch(customers("shop"), mixed...)
	if err := d.Write(ctx, p, b); err != nil {
		t.Fatal(err)
	}
	wantError(t, d.Write(ctx, p, b), KindGuest, "handle 1 is not that of the current write")
	d, p = openLedger(t, &recordedSQL{}, "column")
	wantError(t, d.Write(ctx, p, b), KindGuest, "comes from column 99 of 4")
}

func TestAStormOfFailingRequestsEnds(t *testing.T) {
	sql := &recordedSQL{failOn: "storm"}
	d, p := openLedger(t, sql, "storm")
	wantError(t, d.Write(context.Background(), p, customerBatch(customers("shop"), mixed...)), KindContract, "of which 1000 failed")
	if n := len(sql.calls); n != 1002 || sql.calls[n-1] != "rollback" {
		t.Errorf("the database was asked %d times, last %q", n, sql.calls[n-1])
	}
}

func TestWhatIsNotGrantedDoesNotLink(t *testing.T) {
	_, err := newHost(t).Destination(context.Background(), build(t, "./testdata/ledger"), Plugin{Name: "ledger"}, nil)
	wantError(t, err, KindContract, `the capability "sql" is not granted`)
}

func TestATransformIsNoDestination(t *testing.T) {
	ctx := context.Background()
	d, err := newHost(t).Destination(ctx, build(t, "../../transforms/mask"), Plugin{Name: "mask"}, &recordedSQL{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Open(ctx, OpenInput{Pipeline: "shop"})
	wantError(t, err, KindGuest, "not a destination")
}

func TestGuestLinesReachTheLog(t *testing.T) {
	var out strings.Builder
	h, err := NewHost(context.Background(), Config{CacheDir: filepath.Join(builds.dir, "cache"), Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(context.Background())
	d, err := h.Destination(context.Background(), build(t, "./testdata/ledger"), Plugin{Name: "ledger", Version: "1"}, &recordedSQL{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open(context.Background(), OpenInput{Pipeline: "shop"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `msg="opened for shop" plugin=ledger`) {
		t.Errorf("log is %q", out.String())
	}
}

// TestPlansOfADestinationAreBounded: plans of many tables stay in the host, and
// one that replaces another does not count twice.
func TestPlansOfADestinationAreBounded(t *testing.T) {
	d, _ := openLedger(t, &recordedSQL{}, "long")
	for range 80 {
		if _, err := d.Plan(context.Background(), customers("shop")); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for i := 0; err == nil && i < 80; i++ {
		_, err = d.Plan(context.Background(), customers(fmt.Sprint("d", i)))
	}
	wantError(t, err, KindMemory, "with this table its plans take ")
}
