package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/wasm/meter"
)

// bareRuntime runs modules as wazero does by itself, metered or not: what the
// host would do around a call is left out.
type bareRuntime struct{ wazero.Runtime }

// tickEvery is what the host gives out at a time.
const tickEvery = 400_000

func newBareRuntime(ctx context.Context, config wazero.RuntimeConfig) (*bareRuntime, error) {
	r := &bareRuntime{wazero.NewRuntimeWithConfig(ctx, config)}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return nil, err
	}
	refill := func(_ context.Context, m api.Module, _ []uint64) {
		fuel := m.ExportedGlobal(meter.FuelGlobal).(api.MutableGlobal)
		fuel.Set(tickEvery)
	}
	ticks := r.NewHostModuleBuilder(meter.TickModule)
	ticks.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(refill), nil, nil).Export(meter.TickName)
	if _, err := ticks.Instantiate(ctx); err != nil {
		return nil, err
	}
	i32, nothing := api.ValueTypeI32, api.GoFunc(func(context.Context, []uint64) {})
	leat := r.NewHostModuleBuilder("leat")
	leat.NewFunctionBuilder().WithGoFunction(nothing, []api.ValueType{i32, i32, i32}, nil).Export("log")
	leat.NewFunctionBuilder().WithGoFunction(nothing, []api.ValueType{i32, i32}, nil).Export("reply")
	_, err := leat.Instantiate(ctx)
	return r, err
}

// bareGuest is an instance.
type bareGuest struct {
	api.Module
	at uint64 // of the batch in its memory
}

func (r *bareRuntime) start(ctx context.Context, code []byte) (*bareGuest, error) {
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize").WithSysNanotime().WithStderr(os.Stderr)
	m, err := r.InstantiateWithConfig(ctx, code, config)
	return &bareGuest{Module: m}, err
}

func (g *bareGuest) call(ctx context.Context, export string, args ...uint64) (uint64, error) {
	results, err := g.ExportedFunction(export).Call(ctx, args...)
	if err != nil || len(results) == 0 {
		return 0, err
	}
	return results[0], nil
}

// give allocates room for data in the guest and copies it there.
func (g *bareGuest) give(ctx context.Context, data []byte) (uint64, error) {
	at, err := g.call(ctx, "leat_alloc", uint64(len(data)))
	if err != nil {
		return 0, err
	}
	if !g.Memory().Write(uint32(at), data) {
		return 0, fmt.Errorf("%d bytes at %d are outside memory", len(data), at)
	}
	return at, nil
}

// prepare plans the table of b and puts the batch into the guest's memory, where
// it stays.
func (g *bareGuest) prepare(ctx context.Context, config string, b *batch.Batch) error {
	request, err := json.Marshal(map[string]any{"abi": wasm.ABI, "kind": "transform", "plan": 1, "config": json.RawMessage(config), "schema": b.Schema, "kernels": []string{}})
	if err != nil {
		return err
	}
	at, err := g.give(ctx, request)
	if err != nil {
		return err
	}
	packed, err := g.call(ctx, "leat_plan", at, uint64(len(request)))
	if err != nil {
		return err
	}
	text, _ := g.Memory().Read(uint32(packed>>32), uint32(packed))
	var reply struct{ OK *struct{ Needs []int } }
	if err := json.Unmarshal(text, &reply); err != nil || reply.OK == nil {
		return fmt.Errorf("plan: the reply is %s", text)
	}
	size := len(encodeBatch(b, reply.OK.Needs, 0))
	if g.at, err = g.call(ctx, "leat_alloc", uint64(size)); err != nil {
		return err
	}
	g.Memory().Write(uint32(g.at), encodeBatch(b, reply.OK.Needs, uint32(g.at)))
	return nil
}

// pass has the guest process its batch n times. The kits read the input only.
func (g *bareGuest) pass(ctx context.Context, n int) error {
	for range n {
		at, err := g.call(ctx, "leat_process", g.at)
		if err != nil {
			return err
		}
		if message, ok := g.Memory().ReadUint32Le(uint32(at)); !ok || message != 0 {
			return fmt.Errorf("process failed at %d", at)
		}
	}
	return nil
}

// encodeBatch is section 5 of pdk/README.md for columns of bigint and text
// without nulls, to lie at base.
func encodeBatch(b *batch.Batch, needs []int, base uint32) []byte {
	out := make([]byte, 32+64)
	place := func(data []byte) uint32 {
		for len(out)%8 != 0 {
			out = append(out, 0)
		}
		at := len(out)
		out = append(out, data...)
		return base + uint32(at)
	}
	words := func(values ...uint32) (data []byte) {
		for _, v := range values {
			data = binary.LittleEndian.AppendUint32(data, v)
		}
		return data
	}
	var children []uint32
	for _, i := range needs {
		data := b.Rows.Column(i).Data()
		buffers := []uint32{0}
		switch c := b.Rows.Column(i).(type) {
		case *array.Int64:
			buffers = append(buffers, place(data.Buffers()[1].Bytes()[:8*c.Len()]))
		case *array.String:
			ends := arrow.Int32Traits.CastFromBytes(data.Buffers()[1].Bytes())
			buffers = append(buffers, place(data.Buffers()[1].Bytes()[:4*c.Len()+4]), place(data.Buffers()[2].Bytes()[:ends[c.Len()]]))
		}
		a := make([]byte, 64)
		binary.LittleEndian.PutUint64(a, uint64(b.Len()))
		binary.LittleEndian.PutUint64(a[24:], uint64(len(buffers)))
		binary.LittleEndian.PutUint32(a[40:], place(words(buffers...)))
		children = append(children, place(a))
	}
	ops := make([]byte, b.Len())
	for i, op := range b.Ops {
		ops[i] = byte(op)
	}
	root := out[32:96]
	binary.LittleEndian.PutUint64(root, uint64(b.Len()))
	binary.LittleEndian.PutUint64(root[24:], 1)
	binary.LittleEndian.PutUint64(root[32:], uint64(len(needs)))
	none, kids, presence, rowOps := place(make([]byte, 8)), place(words(children...)), place(make([]byte, 4*len(needs)+4)), place(ops)
	root = out[32:96] // out has grown
	binary.LittleEndian.PutUint32(root[40:], none)
	binary.LittleEndian.PutUint32(root[44:], kids)
	copy(out, words(1, uint32(b.Len()), base+32, 0, presence, rowOps))
	return out
}
