package meter_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/leat-etl/leat/plugins/wasm/meter"
)

// tree calls itself twice, so that it does not end though it is not deep:
// if n { f(n-1); f(n-1) }; n. The call is given.
func tree(call string) string {
	return "\x20\x00\x04\x40" + strings.Repeat("\x20\x00\x41\x01\x6b"+call+"\x1a", 2) + "\x0b\x20\x00"
}

// chain is n functions, each of which calls the next by code given its index;
// the last is given.
func chain(n int, code func(next string) string, last function) []function {
	var f []function
	for i := range n {
		f = append(f, function{locals: "\x01\x01\x7f", code: code("\x10" + string(rune(i+1)))})
	}
	return append(f, last)
}

var (
	// rounds: loop { local = local + 1; next }, 60 times.
	rounds = func(next string) string {
		return "\x41\x00\x21\x00\x03\x40" + next + "\x20\x00\x41\x01\x6a\x22\x00\x41\x3c\x49\x0d\x00\x0b"
	}
	twice = func(next string) string { return next + next }
	nops  = function{code: strings.Repeat("\x01", 100)}
)

var endless = map[string][]function{
	"br":               {{code: "\x03\x40\x0c\x00\x0b"}},
	"br_if":            {{code: "\x03\x40\x41\x01\x0d\x00\x0b"}},
	"br_table":         {{code: "\x03\x40\x41\x07\x0e\x02\x00\x00\x00\x0b"}},
	"br from an if":    {{code: "\x03\x40\x41\x01\x04\x40\x0c\x01\x0b\x0b"}},
	"br from an else":  {{code: "\x03\x40\x41\x00\x04\x40\x05\x0c\x01\x0b\x0b"}},
	"outer loop":       {{code: "\x03\x40\x03\x40\x0c\x01\x0b\x0b"}},
	"loop with input":  {{code: "\x41\x05\x03\x01\x0c\x00\x0b\x1a"}},
	"carried locals":   {{locals: "\x05\x01\x7f\x01\x7e\x01\x7d\x01\x7c\x01\x7b", code: "\x03\x40\x20\x01\x21\x01\x20\x02\x21\x02\x20\x03\x21\x03\x20\x04\x21\x04\x20\x00\x41\x01\x6a\x21\x00\x0c\x00\x0b"}},
	"leaf in a loop":   {{code: "\x03\x40\x10\x01\x0c\x00\x0b"}, {code: "\x01"}},
	"return in a loop": {{code: "\x03\x40\x41\x00\x04\x40\x0f\x0b\x0c\x00\x0b"}},
	"recursion":        {{code: "\x41\x3c\x10\x01\x1a"}, {typ: typeI32, code: tree("\x10\x01")}},
	"mutual recursion": {{code: "\x41\x3c\x41\x01\x11\x01\x00\x1a"}, {typ: typeI32, code: tree("\x41\x02\x11\x01\x00")}, {typ: typeI32, code: tree("\x41\x01\x11\x01\x00")}},
	"doubled calls":    chain(32, twice, nops),
	"loops over calls": chain(8, rounds, nops),
	"loops over loops": chain(7, rounds, function{locals: "\x01\x01\x7f", code: rounds("")}),
	"recursion after a loop": {{code: "\x41\x3c\x10\x01\x1a"}, {typ: typeI32, locals: "\x01\x01\x7f",
		code: "\x03\x40\x20\x01\x41\x01\x6a\x22\x01\x41\x80\x03\x49\x0d\x00\x0b" + tree("\x10\x01")}},
	"memory.fill":    {{code: "\x03\x40\x41\x00\x41\x00\x41\x80\x80\x04\xfc\x0b\x00\x0c\x00\x0b"}},
	"memory.copy":    {{code: "\x03\x40\x41\x00\x41\x00\x41\x80\x80\x04\xfc\x0a\x00\x00\x0c\x00\x0b"}},
	"memory.grow":    {{code: "\x03\x40\x41\x00\x40\x00\x1a\x0c\x00\x0b"}},
	"table.fill":     {{code: "\x03\x40\x41\x00\xd0\x70\x41\x10\xfc\x11\x00\x0c\x00\x0b"}},
	"table.grow":     {{code: "\x03\x40\xd0\x70\x41\x01\xfc\x0f\x00\x1a\x0c\x00\x0b"}},
	"fills in a row": {{code: "\x03\x40" + strings.Repeat("\x10\x01", 50) + "\x0c\x00\x0b"}, {code: strings.Repeat("\x41\x00\x41\x00\x41\x80\x80\x04\xfc\x0b\x00", 50)}},
}

func TestEveryEndlessShapeIsStopped(t *testing.T) {
	for name, functions := range endless {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.budget = 10 * tickEvery
			wasm, _ := instrument(t, assemble(functions...))
			m := h.instance(t, wasm)
			if _, _, err := h.call(m, "f0"); !errors.Is(err, errOutOfFuel) {
				t.Errorf("ended with %v", err)
			}
			if h.added != h.budget {
				t.Errorf("%d fuel was given out, not %d", h.added, h.budget)
			}
		})
	}
}

// Between two ticks pass no more than so many seconds' worth of instructions,
// whatever calls what.
func TestTicksAreNotFarApart(t *testing.T) {
	for _, name := range []string{"doubled calls", "loops over calls", "loops over loops", "recursion after a loop"} {
		h := newHost(t)
		h.budget = 100 * tickEvery
		wasm, _ := instrument(t, assemble(endless[name]...))
		m := h.instance(t, wasm)
		h.call(m, "f0")
		if h.most > 20*tickEvery {
			t.Errorf("%s: %d fuel passed before a tick", name, h.most)
		}
	}
}

// The callers of a light function are charged for it; what it refers to is the same as before.
func TestLightFunctions(t *testing.T) {
	h := newHost(t)
	wasm, _ := instrument(t, assemble(
		function{typ: typeI32, code: "\x20\x00\x10\x01"},                     // f1(x)
		function{typ: typeI32, code: "\x20\x00\x10\x02\x41\x01\x6a"},         // f2(x)+1
		function{typ: typeI32, code: "\xd2\x00\xd1\x20\x00\x6a\x41\x02\x6a"}, // x+2, ref.func of f0 is not null
	))
	m := h.instance(t, wasm)
	got, fuel, err := h.call(m, "f0", 40)
	if err != nil || got[0] != 43 || fuel != 0 {
		t.Errorf("%d, %v, fuel %d", got, err, fuel)
	}
}

// Long straight code is cut into several runs; wherever the cut falls, the
// code behind it is metered.
func TestCodeBehindALongRunIsMetered(t *testing.T) {
	for _, last := range []string{"\x41\x00\x0d\x00", "\x02\x40\x41\x00\x0e\x00\x00\x0b", "\x41\x00\x04\x40\x0b", "\x41\x00\x1a", "\x10\x01", "\x20\x00\x1a"} {
		for nops := 4990; nops < 5005; nops++ {
			h := newHost(t)
			h.budget = tickEvery
			body := strings.Repeat("\x01", nops) + last + endless["br_if"][0].code
			wasm, _ := instrument(t, assemble(function{locals: "\x01\x01\x7f", code: body}, function{code: "\x01"}))
			if _, _, err := h.call(h.instance(t, wasm), "f0"); !errors.Is(err, errOutOfFuel) {
				t.Errorf("%d instructions before %q: ended with %v", nops, last, err)
			}
		}
	}
}

func TestAnEndlessStartFunctionIsStopped(t *testing.T) {
	h := newHost(t)
	h.budget = 10 * tickEvery
	sections := parts(endless["br"]...)
	wasm, _ := instrument(t, link(slices.Insert(sections, 6, section{8, []byte{0}})...))
	_, err := h.runtime.InstantiateWithConfig(context.Background(), wasm, wazero.NewModuleConfig())
	if !errors.Is(err, errOutOfFuel) {
		t.Errorf("instantiate: %v", err)
	}
}

// One instruction that works long is charged for its length.
func TestBulkOperationsAreChargedByLength(t *testing.T) {
	h := newHost(t)
	wasm, _ := instrument(t, assemble(function{typ: typeI32, code: "\x41\x00\x41\x07\x20\x00\xfc\x0b\x00\x20\x00"}))
	m := h.instance(t, wasm)
	_, short, _ := h.call(m, "f0", 0)
	_, long, err := h.call(m, "f0", 65536)
	if err != nil || long-short != 65536/16 {
		t.Errorf("fuel %d for nothing, %d for 64 KiB: %v", short, long, err)
	}
}

// ended are shapes that end, for comparison with and without the meter.
var ended = map[string]function{
	"sum by br_if": {typ: typeI32, locals: "\x01\x01\x7f", code: "\x03\x40\x20\x01\x20\x00\x6a\x21\x01\x20\x00\x41\x01\x6b\x22\x00\x0d\x00\x0b\x20\x01"},
	// A local that is set only on some rounds, after the text has set it first.
	"set before get": {typ: typeI32, locals: "\x01\x01\x7f", code: "\x03\x40\x20\x00\x41\x03\x71\x45\x04\x40\x20\x00\x21\x01\x0b\x20\x00\x41\x01\x6b\x22\x00\x0d\x00\x0b\x20\x01"},
	"loop result":    {typ: typeI32, code: "\x03\x7f\x20\x00\x41\x01\x6b\x22\x00\x04\x40\x0c\x01\x0b\x41\x2a\x0b"},
	"loop input":     {typ: typeI32, code: "\x41\x01\x03\x01\x41\x03\x6c\x20\x00\x41\x01\x6b\x22\x00\x0d\x00\x0b"},
	"operands below": {typ: typeI32, code: "\x41\x07\x20\x00\x03\x40\x20\x00\x41\x01\x6b\x22\x00\x0d\x00\x0b\x6a"},
	"floats":         {typ: typeI32, locals: "\x02\x01\x7d\x01\x7c", code: "\x03\x40\x20\x01\x43\x00\x00\x80\x3f\x92\x21\x01\x20\x02\x20\x01\xbb\xa0\x21\x02\x20\x00\x41\x01\x6b\x22\x00\x0d\x00\x0b\x20\x02\xaa"},
	"vectors":        {typ: typeI32, locals: "\x01\x01\x7b", code: "\x03\x40\x20\x01\x20\x00\xfd\x11\xfd\xae\x01\x21\x01\x20\x00\x41\x01\x6b\x22\x00\x0d\x00\x0b\x20\x01\xfd\x1b\x02"},
	"references":     {typ: typeI32, locals: "\x01\x01\x70", code: "\x03\x40\xd2\x00\x21\x01\x20\x00\x41\x01\x6b\x22\x00\x0d\x00\x0b\x20\x01\xd1"},
	"dispatch": {typ: typeI32, locals: "\x02\x01\x7f\x01\x7f", code: "\x03\x40\x02\x40\x02\x40\x02\x40\x20\x01\x0e\x02\x00\x01\x02\x0b" +
		"\x20\x02\x41\x05\x6a\x21\x02\x41\x01\x21\x01\x0c\x02\x0b" +
		"\x20\x00\x41\x01\x6b\x21\x00\x41\x00\x21\x01\x20\x00\x0d\x01\x41\x02\x21\x01\x0c\x01\x0b\x20\x02\x0f\x0b\x00"},
	"early return":  {typ: typeI32, code: "\x03\x40\x20\x00\x41\x02\x49\x04\x40\x41\x63\x0f\x0b\x20\x00\x41\x01\x6b\x21\x00\x0c\x00\x0b\x00"},
	"br out":        {typ: typeI32, code: "\x03\x40\x20\x00\x20\x00\x41\x01\x6b\x22\x00\x45\x0d\x01\x1a\x0c\x00\x0b\x00"},
	"br_table out":  {typ: typeI32, code: "\x03\x40\x20\x00\x41\x05\x6b\x22\x00\x41\x14\x49\x04\x40\x41\x09\x20\x00\x0e\x01\x02\x02\x0b\x0c\x00\x0b\x00"},
	"select typed":  {typ: typeI32, code: "\x20\x00\x41\x07\x20\x00\x1c\x01\x7f"},
	"globals":       {typ: typeI32, code: "\x03\x40\x23\x00\x42\x03\x7c\x24\x00\x20\x00\x41\x01\x6b\x22\x00\x0d\x00\x0b\x23\x00\xa7"},
	"bulk":          {typ: typeI32, code: "\x03\x40\x20\x00\x41\x00\x41\x04\xfc\x08\x00\x00\x41\x40\x41\x80\x01\x6a\x20\x00\x41\x04\xfc\x0a\x00\x00\x20\x00\x41\x04\x6b\x22\x00\x41\x04\x4b\x0d\x00\x0b\x41\xc0\x00\x28\x02\x00"},
	"saturating":    {typ: typeI32, code: "\x20\x00\xb7\x44\x00\x00\x00\x00\x00\x00\x24\x40\xa3\xfc\x03\xc0"},
	"two values in": {typ: typeI32, code: "\x41\x01\x20\x00\x03\x02\x41\x01\x6b\x22\x00\x20\x00\x0d\x00\x0b\x6a"},
}

func TestEveryShapeComputesTheSame(t *testing.T) {
	for name, f := range ended {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			wasm := assemble(f)
			want, err := h.instance(t, wasm).ExportedFunction("f0").Call(context.Background(), 100)
			if err != nil {
				t.Fatal(err)
			}
			var fuels []int64
			for _, h.step = range []int64{1, 3, 1000, tickEvery} {
				metered, _, err := meter.Instrument(wasm, meter.Options{TickEvery: h.step})
				if err != nil {
					t.Fatal(err)
				}
				got, fuel, err := h.call(h.instance(t, metered), "f0", 100)
				if err != nil || got[0] != want[0] {
					t.Errorf("tick every %d: %x, %v; want %x", h.step, got, err, want)
				}
				fuels = append(fuels, fuel)
			}
			if slices.Min(fuels) != slices.Max(fuels) {
				t.Errorf("fuel depends on the ticks: %d", fuels)
			}
		})
	}
}

func TestFuelIsLinearInTheWork(t *testing.T) {
	h := newHost(t)
	wasm, _ := instrument(t, assemble(ended["sum by br_if"]))
	m := h.instance(t, wasm)
	var fuel [3]int64
	for i, rounds := range []uint64{1000, 2000, 3000} {
		_, fuel[i], _ = h.call(m, "f0", rounds)
	}
	if step := fuel[1] - fuel[0]; step != fuel[2]-fuel[1] || step != 9*1000 {
		t.Errorf("fuel %d for 1000, 2000 and 3000 rounds of 9 instructions", fuel)
	}
}

// What follows a block is charged with what leads into it only where every way
// through the block comes to its end.
func TestCodeThatIsLeftOutIsNotCharged(t *testing.T) {
	rest := strings.Repeat("\x01", 1000)
	for name, code := range map[string]string{
		"return in an if":         "\x20\x00\x04\x40\x20\x00\x0f\x0b" + rest,
		"branch out of an if":     "\x02\x40\x20\x00\x04\x40\x0c\x01\x0b" + rest + "\x0b",
		"branch out of two":       "\x02\x40\x02\x40\x02\x40\x20\x00\x41\x02\x46\x0d\x00\x20\x00\x0d\x02\x0b\x0b" + rest + "\x0b",
		"return in a loop":        "\x03\x40\x20\x00\x04\x40\x20\x00\x0f\x0b\x0b" + rest,
		"br_table out of a block": "\x02\x40\x02\x40\x02\x40\x20\x00\x0e\x01\x00\x01\x0b" + rest + "\x0b\x0b",
		"next round of a loop":    "\x03\x40\x02\x40\x20\x00\x41\x01\x46\x04\x40\x41\x00\x21\x00\x0c\x02\x0b\x0b" + rest + "\x41\x00\x0d\x00\x0b",
	} {
		h := newHost(t)
		wasm, _ := instrument(t, assemble(function{typ: typeI32, code: code + "\x20\x00"}))
		m := h.instance(t, wasm)
		_, all, err := h.call(m, "f0", 0)
		_, some, err2 := h.call(m, "f0", 1)
		if err != nil || err2 != nil {
			t.Fatal(name, err, err2)
		}
		want := all - 1000
		if name == "next round of a loop" {
			want = all
		}
		if all < 1000 || some < want-20 || some > want+20 {
			t.Errorf("%s: fuel %d, and %d for the way that leaves out 1000", name, all, some)
		}
	}
}

// A block that nothing leaves early costs no charge behind it.
func TestCodeBehindABlockIsChargedBeforeIt(t *testing.T) {
	metered := func(inside string) int {
		wasm, _ := instrument(t, assemble(function{typ: typeI32, code: strings.Repeat("\x20\x00\x04\x40"+inside+"\x0b", 20) + "\x20\x00"}))
		return len(wasm)
	}
	if joined, left := metered("\x20\x00\x1a"), metered("\x20\x00\x0f"); joined >= left {
		t.Errorf("%d bytes where every way comes to the end, %d otherwise", joined, left)
	}
}
