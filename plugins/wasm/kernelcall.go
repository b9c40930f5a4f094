package wasm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tetratelabs/wazero/api"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/capability"
	"github.com/leat-etl/leat/plugins/kernel"
)

// kernelRequest is a kernel that a guest has the host run in the middle of a
// call, over columns in its memory.
type kernelRequest struct {
	Kernel     string          `json:"kernel"`
	Parameters json.RawMessage `json:"parameters"`
	Rows       int             `json:"rows"`
	Inputs     []struct {
		Name     string       `json:"name"`
		Format   string       `json:"format"`
		PG       batch.PGType `json:"pg_type"`
		Array    uint32       `json:"array"`
		Presence uint32       `json:"presence"`
	} `json:"inputs"`
}

// computed is the result of a kernel that waits to be fetched by the guest.
type computed struct {
	column kernel.Column
	failed kernel.Failures
	size   uint64
}

// hostKernelRun computes a kernel. The time counts as the guest's own, and so
// does the work: it is charged before it is done, see cost.
func hostKernelRun(ctx context.Context, guest api.Module, stack []uint64) {
	c := callOf(ctx)
	request := c.admit("kernel_run", guest, stack)
	s := c.instance.services
	s.computed = nil
	answer, err := c.runKernel(request)
	s.reply = s.encode(answer, err)
	stack[0] = uint64(len(s.reply))
}

func (c *call) runKernel(text []byte) (any, error) {
	var r kernelRequest
	if err := decodeRequest(text, &r); err != nil {
		return nil, err
	}
	if r.Rows < 1 || r.Rows > maxRows || len(r.Inputs) > maxColumns {
		return nil, refusal("a kernel of %d rows and %d inputs: the rows are 1 to %d, the inputs at most %d", r.Rows, len(r.Inputs), maxRows, maxColumns)
	}
	memory := c.instance.bytes()
	reader := &resultReader{memory: memory, budget: uint64(len(memory))}
	columns, inputs := make([]kernel.Column, len(r.Inputs)), make([]kernel.Input, len(r.Inputs))
	for i, in := range r.Inputs {
		t, err := batch.ParseFormat(in.Format)
		if err != nil {
			return nil, refusal("input %d: %v", i, err)
		}
		a, present, err := reader.column(t, r.Rows, in.Array, in.Presence)
		if err != nil {
			panic(&contractError{fmt.Sprintf("kernel_run: input %d: %v", i, err)})
		}
		defer a.Release()
		columns[i], inputs[i] = kernel.Column{Array: a, Present: present}, kernel.Input{Name: in.Name, Type: t, PG: in.PG}
	}
	k, err := kernel.Bind(r.Kernel, inputs, r.Parameters, c.instance.module.plugin.Settings)
	if err != nil {
		return nil, refusal("%v", err)
	}
	if k.Reveals {
		return nil, refusal("kernel %s: what it decrypts with a setting of the host does not enter the plugin: let the plan name the kernel, or take the key as a setting that the plugin sees", r.Kernel)
	}
	c.burn(cost(reader.copied(), r.Rows, len(r.Parameters)))
	limits := c.instance.module.plugin.Limits
	column, failed, err := k.Run(columns, r.Rows, kernel.Bounds{
		Bytes: int(min(limits.MemoryBytes, batch.MaxColumnBytes)), Until: c.began.Add(limits.Deadline + c.outside),
	})
	if errors.Is(err, kernel.ErrTooLong) {
		panic(errDeadline)
	}
	if errors.Is(err, kernel.ErrTooLarge) {
		return nil, &capability.Error{Class: capability.Resource, Message: fmt.Sprintf("kernel %s: its result is larger than the plugin's memory may be", r.Kernel)}
	}
	if err != nil {
		return nil, refusal("kernel %s: %v", r.Kernel, err)
	}
	done := &computed{column: column, failed: failed}
	var measure layout
	measure.writeComputed(done)
	done.size = measure.end
	c.burn(int64(done.size))
	format, err := batch.Format(k.Output)
	if err != nil {
		return nil, err
	}
	c.instance.services.computed = done
	return struct {
		Format string `json:"format"`
		Size   uint64 `json:"size"`
	}{format, done.size}, nil
}

func refusal(format string, args ...any) error {
	return &capability.Error{Class: capability.Internal, Message: fmt.Sprintf(format, args...)}
}

// cost is the fuel of a kernel over so many bytes and rows. What a row takes
// grows with the pattern or expression in the parameters, so that no guest has
// the host work much longer than it could itself.
func cost(bytes uint64, rows, parameters int) int64 {
	return (int64(bytes) + 32*int64(rows)) * int64(1+parameters)
}

// burn charges the call for what the host did for it.
func (c *call) burn(units int64) {
	c.instance.fuel.Set(c.instance.fuel.Get() - uint64(units))
	c.check()
}

// hostKernelResult copies the waiting result into the guest.
func hostKernelResult(ctx context.Context, guest api.Module, stack []uint64) {
	c := callOf(ctx)
	if c == nil || c.instance.services == nil || c.instance.services.computed == nil {
		panic(&contractError{"kernel_result was called without a result waiting"})
	}
	s := c.instance.services
	at, size := uint32(stack[0]), uint32(stack[1])
	if uint64(size) != s.computed.size {
		panic(&contractError{fmt.Sprintf("kernel_result: the result takes %d bytes, not %d", s.computed.size, size)})
	}
	into, err := window(c.instance.bytes(), at, uint64(size), 8, "kernel_result")
	if err != nil {
		panic(&contractError{err.Error()})
	}
	l := layout{buf: into, base: at}
	l.writeComputed(s.computed)
	s.computed = nil
}

// computedSize is the head of a kernel's result.
const computedSize = 24

// writeComputed lays out what kernel_result copies.
func (l *layout) writeComputed(k *computed) {
	head := l.zeros(computedSize)
	l.u32(head, l.writeColumn(k.column.Array))
	if m := k.column.Present; m != nil {
		l.u32(head+4, l.copy(m[:(k.column.Array.Len()+7)/8]))
	}
	l.u32(head+8, uint32(len(k.failed)))
	errors := l.place(errorEntrySize * len(k.failed))
	l.u32(head+12, l.address(errors))
	for i, row := range slices.SortedFunc(maps.Keys(k.failed), cmp.Compare) {
		text := k.failed[row]
		text = text[:min(len(text), maxMessage)]
		l.u32(errors+errorEntrySize*i, uint32(row))
		l.u32(errors+errorEntrySize*i+4, l.copy([]byte(text)))
		l.u32(errors+errorEntrySize*i+8, uint32(len(text)))
	}
}
