package engine

import (
	"sync"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/state"
)

// Progress counts what a pipeline does, for people and metrics. It is safe
// for concurrent use.
type Progress struct {
	mu        sync.Mutex
	started   time.Time
	tables    map[batch.TableID]*TableProgress
	databases map[string]*DatabaseProgress
	failed    int64
	batches   int64
	doing     string // see Status.Destination
}

// TableProgress is what has reached the destination of one source table.
type TableProgress struct {
	Table     batch.TableID  `json:"table"`
	Inserts   int64          `json:"inserts"`
	Updates   int64          `json:"updates"`
	Deletes   int64          `json:"deletes"`
	Truncates int64          `json:"truncates"`
	Loaded    int64          `json:"loaded"`
	Bytes     int64          `json:"bytes"`
	Position  batch.Position `json:"position"`
	// LoadChunks of LoadTotal chunks of the historical load are done;
	// LoadEstimate is the rows that the source expects.
	LoadChunks   int   `json:"load_chunks"`
	LoadTotal    int   `json:"load_total"`
	LoadEstimate int64 `json:"load_estimate"`
	// LoadBytes of LoadBytesTotal are read, by the size of the table at the
	// source, since LoadStarted.
	LoadBytes      int64     `json:"load_bytes,omitempty"`
	LoadBytesTotal int64     `json:"load_bytes_total,omitempty"`
	LoadStarted    time.Time `json:"load_started,omitzero"`
	// LoadRate is the bytes of a second since then, LoadLeft the seconds that
	// the rest will take at that rate; both 0 where nothing is left.
	LoadRate float64 `json:"load_rate,omitempty"`
	LoadLeft float64 `json:"load_left_seconds,omitempty"`
	// NullCursors rows have no value by which a query mode finds them; Waiting
	// rows have one that a run may not read yet.
	NullCursors int64 `json:"null_cursors,omitempty"`
	Waiting     int64 `json:"waiting,omitempty"`
}

// Changes is the rows of all operations.
func (t *TableProgress) Changes() int64 { return t.Inserts + t.Updates + t.Deletes + t.Truncates }

// DatabaseProgress is where one source database stands.
type DatabaseProgress struct {
	Database string `json:"database"`
	// Phase is connecting, waiting for rights, spooling, draining, loading beside the
	// stream, streaming, retrying, or failed where an operator has to act; of a
	// pipeline that runs now and then also reading, or waiting for its next run.
	Phase string `json:"phase"`
	// Durable is what the destination has.
	Durable batch.Position `json:"durable"`
	// Lag is the bytes of log between the server's end and Durable; LagSeconds
	// the age of the newest commit delivered when more was waiting, 0 when
	// caught up.
	LagBytes   int64   `json:"lag_bytes"`
	LagSeconds float64 `json:"lag_seconds"`
	// RetainedWAL is the bytes of log that the slot keeps at the source.
	RetainedWAL int64 `json:"retained_wal"`
	// Error is why it does not go on, Fix what to do about it, where that is known.
	Error string `json:"error,omitempty"`
	Fix   string `json:"fix,omitempty"`
	// Waits is for whose transaction at the source a slot or a load waits.
	Waits string `json:"waits,omitempty"`
	// Awaits is why the server sends nothing although the log goes on, AwaitsFix
	// what to do about it.
	Awaits    string `json:"awaits,omitempty"`
	AwaitsFix string `json:"awaits_fix,omitempty"`
	// DDLCapture is yes, or no and why; empty where the pipeline file does not
	// ask for it.
	DDLCapture string `json:"ddl_capture,omitempty"`
	// LastRun and NextRun are of a pipeline that runs now and then.
	LastRun time.Time `json:"last_run,omitzero"`
	NextRun time.Time `json:"next_run,omitzero"`
}

// fail notes why a session ended.
func (d *DatabaseProgress) fail(err error) {
	d.Phase, d.Error, d.Fix = "retrying", err.Error(), fixOf(err)
	if actionFor(err) != retry {
		d.Phase = "failed"
	}
}

// enter notes that the database goes on.
func (d *DatabaseProgress) enter(phase string) { d.Phase, d.Error, d.Fix = phase, "", "" }

func newProgress() *Progress {
	return &Progress{started: time.Now(), tables: map[batch.TableID]*TableProgress{}, databases: map[string]*DatabaseProgress{}}
}

// Status is a copy of the counters at one moment.
type Status struct {
	Started   time.Time          `json:"started"`
	Tables    []TableProgress    `json:"tables"`
	Databases []DatabaseProgress `json:"databases"`
	// Failed counts the rows that were set aside since the start; SetAside are
	// those that are kept now and not superseded, see Pipeline.FullStatus.
	Failed   int64 `json:"failed"`
	SetAside int64 `json:"set_aside"`
	Batches  int64 `json:"batches"`
	// Destination is what the destination is doing where a statement of it takes
	// long, such as building the key of a table that was loaded.
	Destination string `json:"destination,omitempty"`
	// Objects are the tables with their states, see Pipeline.FullStatus.
	Objects []state.Object `json:"objects,omitempty"`
	// Shadows are the candidates of the pipeline's transforms.
	Shadows []ShadowReport `json:"shadows,omitempty"`
	// Plugins are what each plugin has done and cost, by name.
	Plugins []PluginBill `json:"plugins,omitempty"`
}

// Status returns the counters as they are now, in no particular order.
func (p *Progress) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{Started: p.started, Failed: p.failed, Batches: p.batches, Destination: p.doing}
	for _, t := range p.tables {
		one := *t
		one.estimate(time.Since(t.LoadStarted))
		s.Tables = append(s.Tables, one)
	}
	for _, d := range p.databases {
		s.Databases = append(s.Databases, *d)
	}
	return s
}

// estimate says how fast a load is that began so long ago.
func (t *TableProgress) estimate(since time.Duration) {
	if left := t.LoadBytesTotal - t.LoadBytes; left > 0 && t.LoadBytes > 0 && t.LoadChunks < t.LoadTotal {
		t.LoadRate = float64(t.LoadBytes) / max(since.Seconds(), 1e-3)
		t.LoadLeft = float64(left) / t.LoadRate
	}
}

func (p *Progress) table(id batch.TableID, change func(*TableProgress)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tables[id]
	if t == nil {
		t = &TableProgress{Table: id}
		p.tables[id] = t
	}
	change(t)
}

func (p *Progress) database(name string, change func(*DatabaseProgress)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.databases[name]
	if d == nil {
		d = &DatabaseProgress{Database: name}
		p.databases[name] = d
	}
	change(d)
}

// destinationDoes notes what a long statement of the destination does, empty
// for none.
func (p *Progress) destinationDoes(doing string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doing = doing
}

// tally counts the rows of one delivery by table until it is committed.
type tally map[batch.TableID]*TableProgress

func (t *tally) add(b *batch.Batch) {
	if *t == nil {
		*t = tally{}
	}
	p := (*t)[b.Schema.Table]
	if p == nil {
		p = &TableProgress{}
		(*t)[b.Schema.Table] = p
	}
	for _, op := range b.Ops {
		switch op {
		case batch.Insert:
			p.Inserts++
		case batch.Update:
			p.Updates++
		case batch.Delete:
			p.Deletes++
		case batch.Truncate:
			p.Truncates++
		case batch.Read:
			p.Loaded++
		}
	}
	p.Bytes += b.Bytes
	p.Position = b.Position
}

// deleted counts rows that were deleted without a batch of their table.
func (t *tally) deleted(table batch.TableID, n int64, at batch.Position) {
	if *t == nil {
		*t = tally{}
	}
	if (*t)[table] == nil {
		(*t)[table] = &TableProgress{}
	}
	(*t)[table].Deletes += n
	(*t)[table].Position = at
}

func (p *Progress) delivered(rows tally, failed int) {
	for id, n := range rows {
		p.table(id, func(t *TableProgress) {
			t.Inserts += n.Inserts
			t.Updates += n.Updates
			t.Deletes += n.Deletes
			t.Truncates += n.Truncates
			t.Loaded += n.Loaded
			t.Bytes += n.Bytes
			t.Position = n.Position
		})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed += int64(failed)
	p.batches++
}
