package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"github.com/leat-etl/leat/plugins/wasm/meter"
)

// instance is one running copy of a module with its own memory. It runs one
// call at a time and is discarded after a failure that is not the plugin's own
// error.
type instance struct {
	module  *module
	guest   api.Module
	memory  *cappedMemory
	stderr  boundedText
	fuel    api.MutableGlobal
	exports map[string]api.Function
	// plans are the numbers of the plans that this instance has made.
	plans map[uint32]bool
	// size is the memory counted in the module's counters.
	size uint64
	// spoken counts what the guest asked of the host, and lines of the log.
	spoken int
	// services serves host functions during a call; nil in transforms.
	services *services
}

// start compiles the module if that has not been done, instantiates it, runs its initialisation and checks its ABI.
func (m *module) start(ctx context.Context) (*instance, error) {
	in := &instance{
		module: m, memory: newCappedMemory(m.plugin.Limits.MemoryBytes),
		exports: map[string]api.Function{}, plans: map[uint32]bool{},
	}
	compiled, err := m.code.compile(ctx)
	if err != nil {
		return nil, m.failure("load", KindContract, "%v", err)
	}
	began := time.Now()
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions().
		WithStdout(&in.stderr).WithStderr(&in.stderr).
		WithNanotime(func() int64 { return int64(time.Since(began)) }, 1).
		WithWalltime(func() (int64, int32) { return 946_684_800, 0 }, sys.ClockResolution(time.Microsecond))
	c := newCall(ctx, in)
	guest, err := m.host.runtime.InstantiateModule(experimental.WithMemoryAllocator(c.context(), in.memory), compiled, config)
	if err != nil {
		return nil, in.explain("load", c, err)
	}
	in.guest = guest
	m.counters.instances.Add(1)
	in.fuel, _ = guest.ExportedGlobal(meter.FuelGlobal).(api.MutableGlobal)
	if err := in.initialize(ctx); err != nil {
		in.close(ctx)
		return nil, err
	}
	return in, nil
}

func (in *instance) initialize(ctx context.Context) error {
	if in.fuel == nil {
		return in.module.failure("load", KindContract, "the instrumented module has no fuel counter")
	}
	if in.guest.ExportedFunction("_initialize") != nil {
		if _, err := in.call(ctx, "load", "_initialize"); err != nil {
			return err
		}
	}
	version, err := in.call(ctx, "load", "leat_abi_version")
	if err != nil {
		return err
	}
	if uint32(version) != ABI {
		return in.module.failure("load", KindContract, "it speaks ABI %d, this host speaks %d: rebuild it with the plugin kit of this release", uint32(version), ABI)
	}
	return nil
}

// call runs one export within the plugin's limits and returns its result, 0 if
// it has none. After an error the instance must be closed.
func (in *instance) call(ctx context.Context, op, export string, args ...uint64) (uint64, error) {
	f := in.exports[export]
	if f == nil {
		f = in.guest.ExportedFunction(export)
		in.exports[export] = f
	}
	c := newCall(ctx, in)
	if share, ok := ctx.Value(shareKey{}).(float64); ok && export == "leat_process" {
		c.fuel = int64(float64(c.fuel) * share)
	}
	in.stderr.reset()
	c.refill(0)
	results, err := f.Call(c.context(), args...)
	took := time.Since(c.began)
	n := &in.module.counters
	n.calls.Add(1)
	n.nanoseconds.Add(uint64(took))
	n.fuel.Add(c.used())
	n.hostCalls.Add(uint64(c.requests + c.lines))
	in.spoken += c.requests + c.lines
	if err != nil {
		return 0, in.explain(op, c, err)
	}
	if len(results) == 0 {
		return 0, nil
	}
	return results[0], nil
}

// bytes is the whole memory of the guest, valid until the next call.
func (in *instance) bytes() []byte {
	all, _ := in.guest.Memory().Read(0, in.guest.Memory().Size())
	return all
}

// alloc asks the guest for n bytes and returns where they are.
func (in *instance) alloc(ctx context.Context, op string, n int) (uint32, error) {
	at, err := in.call(ctx, op, "leat_alloc", uint64(n))
	if err != nil {
		return 0, err
	}
	p := uint32(at)
	if p == 0 || p%8 != 0 {
		return 0, in.module.failure(op, KindContract, "leat_alloc returned %d, expected an address aligned to 8", p)
	}
	if uint64(p)+uint64(n) > uint64(in.guest.Memory().Size()) {
		return 0, in.module.failure(op, KindContract, "leat_alloc(%d) returned %d, beyond the %d bytes of memory", n, p, in.guest.Memory().Size())
	}
	return p, nil
}

// callJSON sends a request to an export and returns the reply's bytes, copied
// and not yet decoded.
func (in *instance) callJSON(ctx context.Context, op, export string, request []byte) ([]byte, error) {
	at, err := in.alloc(ctx, op, len(request))
	if err != nil {
		return nil, err
	}
	copy(in.bytes()[at:], request)
	packed, err := in.call(ctx, op, export, uint64(at), uint64(len(request)))
	if err != nil {
		return nil, err
	}
	text, err := replyBytes(in.bytes(), uint32(packed>>32), uint32(packed))
	if err != nil {
		return nil, in.module.failure(op, KindContract, "%v", err)
	}
	return bytes.Clone(text), nil
}

// explain makes a failed call's error.
func (in *instance) explain(op string, c *call, err error) error {
	if errors.Is(err, errCancelled) {
		return fmt.Errorf("plugin %s@%s: %s: %w", in.module.plugin.Name, in.module.plugin.Version, op, context.Cause(c.ctx))
	}
	l := in.module.plugin.Limits
	switch {
	case errors.Is(err, errFuel):
		return in.module.failure(op, KindFuel, "the call used up its %d units of fuel", c.fuel)
	case errors.Is(err, errDeadline):
		return in.module.failure(op, KindDeadline, "the call ran for more than %s", l.Deadline)
	}
	text := in.stderr.String()
	if in.memory.refused {
		return in.module.failure(op, KindMemory, "the instance needs more than its %d bytes of memory%s", l.MemoryBytes, suffix(text))
	}
	if text == "" {
		text = firstLines(err.Error(), 12)
	}
	var broken *contractError
	if errors.As(err, &broken) {
		return in.module.failure(op, KindContract, "%v", broken)
	}
	return in.module.failure(op, KindTrap, "%s", text)
}

func suffix(text string) string {
	if text == "" {
		return ""
	}
	return ": " + firstLines(text, 4)
}

func firstLines(s string, n int) string {
	lines := strings.SplitN(s, "\n", n+1)
	return strings.TrimSpace(strings.Join(lines[:min(n, len(lines))], "\n"))
}

// account brings the module's memory counter up to date and says whether the
// instance should be recycled.
func (in *instance) account() (recycle bool) {
	size := uint64(in.guest.Memory().Size())
	in.module.counters.memory.Add(size - in.size)
	in.size = size
	return size > in.module.plugin.Limits.HighWater
}

func (in *instance) close(ctx context.Context) {
	in.module.counters.memory.Add(-in.size)
	in.size = 0
	in.module.counters.recycled.Add(1)
	in.guest.Close(ctx)
}

// boundedText keeps the first and the last part of what is written to it.
type boundedText struct {
	head, tail []byte
}

const textBound = 4096

func (t *boundedText) reset() { t.head, t.tail = t.head[:0], t.tail[:0] }

// Write implements io.Writer. It never fails.
func (t *boundedText) Write(p []byte) (int, error) {
	n := len(p)
	take := min(textBound-len(t.head), n)
	t.head = append(t.head, p[:take]...)
	if p = p[take:]; len(p) >= textBound {
		t.tail = append(t.tail[:0], p[len(p)-textBound:]...)
		return n, nil
	}
	if extra := len(t.tail) + len(p) - textBound; extra > 0 {
		t.tail = t.tail[:copy(t.tail, t.tail[extra:])]
	}
	t.tail = append(t.tail, p...)
	return n, nil
}

// String is the text as valid UTF-8.
func (t *boundedText) String() string {
	s := string(t.head)
	if len(t.tail) > 0 {
		s += "\n...\n" + string(t.tail)
	}
	return strings.TrimSpace(strings.ToValidUTF8(s, "?"))
}
