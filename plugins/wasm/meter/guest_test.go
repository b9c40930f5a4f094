package meter_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/leat-etl/leat/plugins/wasm/meter"
)

const tickEvery = 100_000

var errOutOfFuel = errors.New("out of fuel")

// host runs modules and provides their tick.
type host struct {
	runtime wazero.Runtime
	// added is the fuel that ticks gave out; budget, if not 0, is where they end the call.
	added, budget int64
	step          int64 // what a tick gives out
	ticks         int
	most          int64 // the lowest that the counter was at a tick, below zero
}

func newHost(t testing.TB) *host {
	ctx := context.Background()
	h := &host{step: tickEvery, runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())}
	t.Cleanup(func() { h.runtime.Close(ctx) })
	_, err := h.runtime.NewHostModuleBuilder(meter.TickModule).
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(h.tick), nil, nil).Export(meter.TickName).
		Instantiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wasi_snapshot_preview1.MustInstantiate(ctx, h.runtime)
	return h
}

func (h *host) tick(_ context.Context, m api.Module, _ []uint64) {
	h.ticks++
	g := m.ExportedGlobal(meter.FuelGlobal).(api.MutableGlobal)
	h.most = max(h.most, -int64(g.Get()))
	for int64(g.Get()) < 0 {
		if h.budget > 0 && h.added >= h.budget {
			panic(errOutOfFuel)
		}
		h.added += h.step
		g.Set(g.Get() + uint64(h.step))
	}
}

func (h *host) instance(t testing.TB, wasm []byte) api.Module {
	t.Helper()
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize").WithSysNanotime().WithStderr(os.Stderr)
	m, err := h.runtime.InstantiateWithConfig(context.Background(), wasm, config)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// left is the counter of m.
func left(m api.Module) int64 { return int64(m.ExportedGlobal(meter.FuelGlobal).Get()) }

// call returns the results and the fuel used.
func (h *host) call(m api.Module, name string, args ...uint64) (results []uint64, fuel int64, err error) {
	before, added := left(m), h.added
	results, err = m.ExportedFunction(name).Call(context.Background(), args...)
	return results, h.added - added + before - left(m), err
}

func instrument(t testing.TB, wasm []byte) ([]byte, *meter.Info) {
	t.Helper()
	out, info, err := meter.Instrument(wasm, meter.Options{TickEvery: tickEvery})
	if err != nil {
		t.Fatal(err)
	}
	return out, info
}

var goGuest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "leat-meter")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", file, "./testdata/goguest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.New(string(out))
	}
	return os.ReadFile(file)
})

// guests are the modules of real compilers.
func guests(t testing.TB) map[string][]byte {
	fromGo, err := goGuest()
	if err != nil {
		t.Fatal(err)
	}
	fromC, err := os.ReadFile("testdata/cguest/guest.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"go": fromGo, "c": fromC}
}

var kernels = []string{"add", "upper", "mask", "array", "sha"}

func TestGuestsComputeTheSameAndUseTheSameFuelTwice(t *testing.T) {
	for language, wasm := range guests(t) {
		t.Run(language, func(t *testing.T) {
			h := newHost(t)
			metered, info := instrument(t, wasm)
			t.Logf("%d bytes to %d, %d functions, %d checks", len(wasm), len(metered), info.Functions, info.Checks)
			plain, first, second := h.instance(t, wasm), h.instance(t, metered), h.instance(t, metered)
			for _, m := range []api.Module{plain, first, second} {
				if _, err := m.ExportedFunction("prepare").Call(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			for _, kernel := range kernels {
				want, err := plain.ExportedFunction(kernel).Call(context.Background(), 3)
				if err != nil {
					t.Fatal(err)
				}
				got, fuel, err := h.call(first, kernel, 3)
				if err != nil || got[0] != want[0] {
					t.Fatalf("%s: %x, %v; want %x", kernel, got, err, want)
				}
				if _, again, _ := h.call(second, kernel, 3); again != fuel || fuel < 8192 {
					t.Errorf("%s: fuel %d, then %d", kernel, fuel, again)
				}
				t.Logf("%s: %x, %.1f fuel a row", kernel, got[0], float64(fuel)/3/8192)
			}
		})
	}
}

// With a tick at nearly every check the copies at the loop heads are in use
// all the time; Go's whole start-up runs that way too.
func TestGuestsComputeTheSameWhenTheyTickAllTheTime(t *testing.T) {
	for language, wasm := range guests(t) {
		t.Run(language, func(t *testing.T) {
			h := newHost(t)
			h.step = 40
			metered, _, err := meter.Instrument(wasm, meter.Options{TickEvery: h.step})
			if err != nil {
				t.Fatal(err)
			}
			plain, ticking := h.instance(t, wasm), h.instance(t, metered)
			for _, name := range append([]string{"prepare"}, kernels...) {
				var args []uint64
				if name != "prepare" {
					args = []uint64{1}
				}
				want, err := plain.ExportedFunction(name).Call(context.Background(), args...)
				if err != nil {
					t.Fatal(err)
				}
				before := h.ticks
				got, _, err := h.call(ticking, name, args...)
				if err != nil || len(got) > 0 && got[0] != want[0] {
					t.Errorf("%s: %x, %v; want %x", name, got, err, want)
				}
				if h.ticks-before < 1000 {
					t.Errorf("%s: only %d ticks", name, h.ticks-before)
				}
			}
		})
	}
}
