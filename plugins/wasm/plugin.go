package wasm

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/kernel"
)

// Plugin is what the host needs to know of a plugin to run it.
type Plugin struct {
	Name, Version string
	// Digest of the module, "sha256:" and hexadecimal; computed where empty.
	Digest string
	// Config is the plugin's table from the pipeline file as JSON.
	Config json.RawMessage
	// Private says that Config holds values which do not stand in the pipeline
	// file: nothing that the plugin made of it is written to disk.
	Private bool
	Limits  Limits
	// Settings are the part of the plugin's table that only the host sees; plans
	// refer to them by name as parameters of kernels.
	Settings kernel.Settings
	Grants   Grants
	// Columns are the names of the columns that may enter the guest, and that
	// kernels may work on for it; nil is all.
	Columns []string
}

func (p *Plugin) mayUse(column string) bool {
	return p.Columns == nil || slices.Contains(p.Columns, column)
}

// Limits bound one instance and one call. Zero fields take the defaults.
type Limits struct {
	// MemoryBytes caps an instance's memory; the default is 256 MiB.
	MemoryBytes uint64
	// Fuel bounds the instructions of one call (see package meter); the default is
	// 20 thousand million.
	Fuel uint64
	// Deadline bounds the time in the guest of one call, without the time in
	// host functions; the default is 30 s.
	Deadline time.Duration
	// HighWater is the memory above which an instance is recycled after a
	// call; the default is half of MemoryBytes.
	HighWater uint64
}

func (l Limits) withDefaults() Limits {
	if l.MemoryBytes == 0 {
		l.MemoryBytes = 256 << 20
	}
	l.MemoryBytes = min(l.MemoryBytes, 1<<32-1<<16)
	if l.Fuel == 0 {
		l.Fuel = 20_000_000_000
	}
	l.Fuel = min(l.Fuel, 1<<62)
	if l.Deadline == 0 {
		l.Deadline = 30 * time.Second
	}
	if l.HighWater == 0 {
		l.HighWater = l.MemoryBytes / 2
	}
	return l
}

// Kind says how a plugin failed.
type Kind string

// The kinds. Guest: the plugin reported an error by itself. Contract: it broke
// a rule of the ABI. The others say which limit it met or that it trapped.
const (
	KindTrap     Kind = "trap"
	KindFuel     Kind = "fuel"
	KindDeadline Kind = "deadline"
	KindMemory   Kind = "memory"
	KindContract Kind = "contract"
	KindGuest    Kind = "guest"
)

// Error is a failure of a plugin. Unwrap gives the *capability.Error behind
// it, if a host function's failure was the cause.
type Error struct {
	Plugin, Version string
	Op              string // load, plan, process, open, write, commit, checkpoint, rollback, close
	Table           string
	Position        batch.Position
	// Row is the input row that the failure is about, -1 if none.
	Row     int
	Kind    Kind
	Message string
	cause   error
	// destination: the plugin is the destination, which nothing goes past.
	destination bool
}

// Error implements error.
func (e *Error) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "plugin %s@%s: %s", e.Plugin, e.Version, e.Op)
	if e.Table != "" {
		fmt.Fprintf(&s, " %s", e.Table)
	}
	if !e.Position.IsZero() {
		fmt.Fprintf(&s, " at %s", e.Position)
	}
	if e.Row >= 0 {
		fmt.Fprintf(&s, " row %d", e.Row)
	}
	if e.Kind != KindGuest {
		fmt.Fprintf(&s, ": %s", e.Kind)
	}
	fmt.Fprintf(&s, ": %s", e.Message)
	return s.String()
}

// Hint is what an operator can do about a destination that fails, empty where
// the message has it: a failure of the database, settings that it does not open
// with. Of a transform that depends on what the host makes of it.
func (e *Error) Hint() string {
	switch {
	case !e.destination || e.cause != nil || e.Kind == KindGuest && e.Op == "open" && !strings.HasPrefix(e.Message, "panic: "):
		return ""
	case e.Kind == KindGuest && e.Op == "plan":
		return "leave the table out (leat objects skip FILE " + e.Table + ", or exclude under [objects] in the pipeline file), change it so that the destination can take it, or take another destination, and run again" + standsStill
	case e.Kind == KindFuel || e.Kind == KindDeadline || e.Kind == KindMemory:
		return "raise the limit in the pipeline file, for example limits = { fuel = 50000000000, deadline = \"2m\", memory = \"1GB\" } below [destination], or take a version of the plugin that needs less, and run again" + standsStill
	}
	return "put a mended version of the plugin in its place (leat plugin update brings one of a publisher; leat plugin conformance tries one) and run again" + standsStill
}

// standsStill ends what is said of a destination that has failed.
const standsStill = "; nothing is lost: the destination has kept its position, and the next run goes on from there"

// Unwrap returns the cause that the plugin named, or nil.
func (e *Error) Unwrap() error { return e.cause }

// Stats counts what a plugin has done since it was loaded.
type Stats struct {
	Calls uint64 `json:"calls"`
	Rows  uint64 `json:"rows"`
	// RowsOut are the rows that a transform made of Rows, RowsFailed those that
	// it refused. RowsChanged are, of RowsOut, those in which a value that it
	// computed, or a kernel for it, is another than came in under the name.
	RowsOut     uint64 `json:"rows_out"`
	RowsFailed  uint64 `json:"rows_failed"`
	RowsChanged uint64 `json:"rows_changed"`
	// Nanoseconds is the time inside guest calls, host functions included.
	Nanoseconds uint64 `json:"nanoseconds"`
	Fuel        uint64 `json:"fuel"`
	// HostCalls are calls of host functions, lines of the log among them.
	HostCalls uint64 `json:"host_calls"`
	// BytesIn and BytesOut are what was copied into instances as columns, and
	// out of them.
	BytesIn  uint64 `json:"bytes_in"`
	BytesOut uint64 `json:"bytes_out"`
	// MemoryBytes is the memory of all living instances after their last call.
	MemoryBytes uint64 `json:"memory_bytes"`
	// Instances counts instances made, Recycled those thrown away after a
	// failure or past the high-water mark.
	Instances uint64 `json:"instances"`
	Recycled  uint64 `json:"recycled"`
}

type counters struct {
	calls, rows, rowsOut, rowsFailed, rowsChanged, nanoseconds, fuel, hostCalls, bytesIn, bytesOut, memory, instances, recycled atomic.Uint64
}

func (c *counters) stats() Stats {
	return Stats{
		Calls: c.calls.Load(), Rows: c.rows.Load(), Nanoseconds: c.nanoseconds.Load(), Fuel: c.fuel.Load(),
		RowsOut: c.rowsOut.Load(), RowsFailed: c.rowsFailed.Load(), RowsChanged: c.rowsChanged.Load(), HostCalls: c.hostCalls.Load(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		MemoryBytes: c.memory.Load(), Instances: c.instances.Load(), Recycled: c.recycled.Load(),
	}
}
