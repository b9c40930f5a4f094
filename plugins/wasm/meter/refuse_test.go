package meter_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/leat-etl/leat/plugins/wasm/meter"
)

// with replaces, adds (in order) or, if body is empty, removes a section.
func with(sections []section, id byte, body string) []byte {
	order := []byte{1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11}
	sections = slices.DeleteFunc(slices.Clone(sections), func(s section) bool { return s.id == id })
	if body != "" {
		at := slices.IndexFunc(sections, func(s section) bool { return slices.Index(order, s.id) > slices.Index(order, id) })
		sections = slices.Insert(sections, at, section{id, []byte(body)})
	}
	return link(sections...)
}

func TestWhatIsRefusedAndWhy(t *testing.T) {
	nop := parts(function{})
	code := func(s string) []byte { return assemble(function{code: s}) }
	var carried strings.Builder
	for x := range byte(60) {
		carried.Write([]byte{0x20, x, 0x21, x})
	}
	for name, c := range map[string]struct {
		wasm []byte
		want string
	}{
		"nothing":               {nil, "not a WebAssembly"},
		"a component":           {[]byte("\x00asm\x0d\x00\x01\x00"), "component"},
		"cut short":             {link(nop...)[:40], "unexpected end"},
		"sections out of order": {link(nop[1], nop[0]), "out of order"},
		"section twice":         {link(nop[0], nop[0]), "out of order"},
		"tag section":           {with(nop, 13, "\x00"), "section 13"},
		"huge count":            {with(nop, 3, "\xff\xff\xff\xff\x0f"), "count 4294967295"},
		"left over":             {with(nop, 3, "\x01\x00\x00"), "left over"},
		"no code":               {with(nop, 10, ""), "1 functions are declared but 0 have code"},
		"our import":            {with(nop, 2, "\x01\x0aleat_meter\x04tick\x00\x00"), "reserved"},
		"our export":            {with(nop, 7, "\x01\x0fleat_meter_fuel\x03\x00"), "reserved"},
		"imported memory":       {with(nop, 2, "\x01\x01m\x01m\x02\x00\x01"), "is a memory"},
		"imported table":        {with(nop, 2, "\x01\x01m\x01m\x01\x70\x00\x01"), "is a table"},
		"imported global":       {with(nop, 2, "\x01\x01m\x01m\x03\x7e\x00"), "is a global"},
		"two memories":          {with(nop, 5, "\x02\x00\x01\x00\x01"), "2 memories"},
		"shared memory":         {with(nop, 5, "\x01\x03\x01\x02"), "shared"},
		"64-bit memory":         {with(nop, 5, "\x01\x04\x01"), "limits flag"},
		"memory over 4 GiB":     {with(nop, 5, "\x01\x00\x81\x80\x04"), "65536 pages"},
		"huge table":            {with(nop, 4, "\x01\x70\x00\xff\xff\xff\x7f"), "larger than"},
		"rec type":              {with(nop, 1, "\x01\x4e\x01\x60\x00\x00"), "type form"},
		"exnref":                {with(nop, 1, "\x01\x60\x01\x69\x00"), "value type 0x69"},
		"start out of range":    {with(nop, 8, "\x01"), "function index 1 is out of range"},
		"export out of range":   {with(nop, 7, "\x01\x01f\x00\x01"), "exported function index 1"},
		"element out of range":  {with(nop, 9, "\x01\x00\x41\x00\x0b\x01\x01"), "function index 1"},
		"too many locals":       {assemble(function{locals: "\x01\x91\x4e\x7f"}), "locals"},
		"deep nesting":          {code(strings.Repeat("\x02\x40", 10_001) + strings.Repeat("\x0b", 10_001)), "nested"},
		"code behind the end":   {code("\x0b\x01"), "follow the end"},
		"else without if":       {code("\x02\x40\x05\x0b"), "else without if"},
		"label out of range":    {code("\x0c\x01"), "label index 1"},
		"tail call":             {code("\x12\x00"), "tail call"},
		"atomic":                {code("\xfe\x03\x00"), "atomic"},
		"exception":             {code("\x08\x00"), "exception handling"},
		"typed reference":       {code("\x14\x00"), "typed function reference"},
		"garbage collection":    {code("\xfb\x00"), "garbage collection"},
		"relaxed SIMD":          {code("\xfd\x80\x02"), "not supported"},
		"bad integer":           {code("\x41\xff\xff\xff\xff\x4f\x1a"), "malformed signed 32-bit"},
		// Indices that only exist because of the meter.
		"the fuel counter":  {code("\x42\x00\x24\x01"), "global index 1 is out of range"},
		"the meter's local": {code("\x03\x40\x42\x7f\x21\x00\x0c\x00\x0b"), "local index 0 is out of range"},
		"the tick":          {code("\x10\x01"), "function index 1 is out of range"},
		"the tick's type":   {code("\x41\x00\x11\x04\x00"), "type index 4"},
		"a growth bomb":     {assemble(function{locals: "\x01\x3c\x7f", code: strings.Repeat("\x03\x40", 5000) + carried.String() + strings.Repeat("\x0b", 5000)}), "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := meter.Instrument(c.wasm, meter.Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestInfoDescribesTheOriginal(t *testing.T) {
	wasm := with(parts(function{typ: typeI32, code: "\x20\x00\x10\x00"}), 2, "\x01\x03env\x03dbl\x00\x01")
	out, info := instrument(t, wasm)
	if len(info.Imports) != 1 || info.Imports[0] != (meter.Import{Module: "env", Name: "dbl", Kind: "function", Signature: "(i32) -> (i32)"}) {
		t.Errorf("imports %v", info.Imports)
	}
	if len(info.Exports) != 1 || info.Exports[0] != (meter.Export{Name: "f0", Kind: "function", Signature: "(i32) -> (i32)"}) {
		t.Errorf("exports %v", info.Exports)
	}
	if len(info.Memories) != 1 || info.Memories[0] != (meter.Memory{MinPages: 1, MaxPages: 16, Bounded: true}) {
		t.Errorf("memories %v", info.Memories)
	}
	if info.Functions != 1 || info.Checks != 1 || len(out) <= len(wasm) {
		t.Errorf("%d functions, %d checks", info.Functions, info.Checks)
	}
}

// Every kind of reference to a function moves: calls, exports, elements by
// index and by expression, ref.func, the start function and the names.
func TestFunctionIndicesMove(t *testing.T) {
	sections := parts(
		function{typ: typeI32, code: "\x20\x00\x10\x00"}, // f0 = dbl(x); see the exports below
		function{typ: typeI32, code: "\x20\x00\x41\x01\x11\x01\x00"},
		function{typ: typeI32, code: "\x41\x00\xd2\x01\x26\x00\x20\x00\x41\x00\x11\x01\x00"},
		function{code: "\x42\x07\x24\x00"}, // start: global 0 = 7
		function{typ: typeI64, code: "\x23\x00"},
	)
	wasm := with(sections, 2, "\x01\x03env\x03dbl\x00\x01")
	replace := func(id byte, body string) { wasm = with(split(wasm), id, body) }
	replace(7, "\x04\x06direct\x00\x01\x08indirect\x00\x02\x03ref\x00\x03\x04init\x00\x05")
	replace(8, "\x04")
	replace(9, "\x01\x04\x41\x01\x0b\x01\xd2\x01\x0b") // table[1] = f0 by expression
	h := newHost(t)
	_, err := h.runtime.NewHostModuleBuilder("env").NewFunctionBuilder().
		WithFunc(func(x uint32) uint32 { return 2 * x }).Export("dbl").Instantiate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	metered, _ := instrument(t, wasm)
	for _, m := range []api.Module{h.instance(t, wasm), h.instance(t, metered)} {
		for name, want := range map[string]uint64{"direct": 42, "indirect": 42, "ref": 42, "init": 7} {
			if got, err := m.ExportedFunction(name).Call(context.Background(), 21); err != nil || got[0] != want {
				t.Errorf("%s: %d, %v; want %d", name, got, err, want)
			}
		}
	}
}

// split reads back what link wrote.
func split(wasm []byte) []section {
	var out []section
	for b := wasm[8:]; len(b) > 0; {
		id, n, shift := b[0], 0, 0
		for b = b[1:]; ; shift += 7 {
			c := b[0]
			b = b[1:]
			if n |= int(c&0x7f) << shift; c < 0x80 {
				break
			}
		}
		out = append(out, section{id, b[:n]})
		b = b[n:]
	}
	return out
}

func TestATrapNamesTheFunction(t *testing.T) {
	wasm := append(assemble(function{code: "\x00"}), "\x00\x10\x04name\x01\x09\x01\x00\x06culpit"...)
	h := newHost(t)
	metered, _ := instrument(t, wasm)
	_, _, err := h.call(h.instance(t, metered), "f0")
	if err == nil || !strings.Contains(err.Error(), "culpit") {
		t.Errorf("error %v", err)
	}
}

func TestATableCannotGrowForEver(t *testing.T) {
	h := newHost(t)
	wasm := with(parts(function{typ: typeI32, code: "\xd0\x70\x20\x00\xfc\x0f\x00"}), 4, "\x01\x70\x00\x10")
	metered, _ := instrument(t, wasm)
	m := h.instance(t, metered)
	for _, step := range []struct {
		n    uint64
		want int32
	}{{4, 16}, {meter.MaxTableEntries, -1}} {
		if got, _, err := h.call(m, "f0", step.n); err != nil || int32(got[0]) != step.want {
			t.Errorf("table.grow %d: %d, %v", step.n, got, err)
		}
	}
}

// FuzzInstrument holds that nothing panics, and that wazero judges the output
// as it judges the input: in particular no invalid module becomes valid.
func FuzzInstrument(f *testing.F) {
	for _, functions := range endless {
		f.Add(assemble(functions...))
	}
	for _, function := range ended {
		f.Add(assemble(function))
	}
	fromC, err := os.ReadFile("testdata/cguest/guest.wasm")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(fromC)
	ctx := context.Background()
	config := wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2)
	f.Fuzz(func(t *testing.T, wasm []byte) {
		out, _, err := meter.Instrument(wasm, meter.Options{})
		if err != nil {
			return
		}
		r := wazero.NewRuntimeWithConfig(ctx, config)
		defer r.Close(ctx)
		// The output has no custom section that could be malformed.
		bare := link(slices.DeleteFunc(split(wasm), func(s section) bool { return s.id == 0 })...)
		_, before := r.CompileModule(ctx, bare)
		if _, after := r.CompileModule(ctx, out); (before == nil) != (after == nil) {
			t.Errorf("before %v, after %v", before, after)
		}
	})
}
