package memory_test

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/leat-etl/leat/plugins/wasm/memory"
)

const page = 65536

// guest declares a memory of min pages and exports memory and
// grow(pages) -> memory.grow's result; extra sections follow the code.
func guest(min byte, extra ...byte) []byte {
	b := []byte("\x00asm\x01\x00\x00\x00" +
		"\x01\x06\x01\x60\x01\x7f\x01\x7f" +
		"\x03\x02\x01\x00" +
		"\x05\x03\x01\x00")
	b = append(b, min)
	b = append(b, "\x07\x11\x02\x06memory\x02\x00\x04grow\x00\x00"+
		"\x0a\x08\x01\x06\x00\x20\x00\x40\x00\x0b"...)
	return append(b, extra...)
}

func instantiate(t *testing.T, a *memory.Allocator, wasm []byte) (api.Module, error) {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	t.Cleanup(func() { r.Close(ctx) })
	return r.InstantiateWithConfig(experimental.WithMemoryAllocator(ctx, a), wasm, wazero.NewModuleConfig())
}

func grow(t *testing.T, m api.Module, pages uint64) int32 {
	t.Helper()
	r, err := m.ExportedFunction("grow").Call(context.Background(), pages)
	if err != nil {
		t.Fatal(err)
	}
	return int32(r[0])
}

func TestGrowthStopsAtTheCapAndIsFreedOnClose(t *testing.T) {
	a := memory.New(10*page + 17) // a cap that is not a whole page rounds down
	m, err := instantiate(t, a, guest(2))
	if err != nil {
		t.Fatal(err)
	}
	if a.Bytes() != 2*page {
		t.Fatalf("%d bytes after start", a.Bytes())
	}
	mem := m.Memory()
	mem.WriteUint32Le(2*page-4, 0xfeedface)
	for _, step := range []struct {
		pages uint64
		want  int32
		bytes uint64
	}{{3, 2, 5}, {0, 5, 5}, {6, -1, 5}, {60000, -1, 5}, {5, 5, 10}, {1, -1, 10}} {
		if got := grow(t, m, step.pages); got != step.want || a.Bytes() != step.bytes*page || uint64(mem.Size()) != step.bytes*page {
			t.Errorf("grow %d: %d, %d bytes of %d; want %d, %d pages", step.pages, got, a.Bytes(), mem.Size(), step.want, step.bytes)
		}
	}
	if v, _ := mem.ReadUint32Le(2*page - 4); v != 0xfeedface {
		t.Errorf("old memory holds %x after growing", v)
	}
	if v, ok := mem.ReadUint64Le(10*page - 8); v != 0 || !ok {
		t.Errorf("new memory holds %x, %v", v, ok)
	}
	if _, ok := mem.ReadByte(10 * page); ok {
		t.Error("the memory goes on behind its end")
	}
	if err := m.Close(context.Background()); err != nil || a.Bytes() != 0 {
		t.Errorf("close: %v, %d bytes left", err, a.Bytes())
	}
}

func TestMemoryThatStartsEmptyGrows(t *testing.T) {
	a := memory.New(4 * page)
	m, err := instantiate(t, a, guest(0))
	if err != nil {
		t.Fatal(err)
	}
	if got := grow(t, m, 5); got != -1 {
		t.Errorf("grow past the cap: %d", got)
	}
	if got := grow(t, m, 4); got != 0 || a.Bytes() != 4*page {
		t.Errorf("grow to the cap: %d, %d bytes", got, a.Bytes())
	}
}

func TestMinimumOverTheCapPanicsAndHoldsNothing(t *testing.T) {
	a := memory.New(page)
	defer func() {
		if recover() == nil {
			t.Error("instantiated")
		}
		if a.Bytes() != 0 {
			t.Errorf("%d bytes are held", a.Bytes())
		}
	}()
	if _, err := instantiate(t, a, guest(2)); err == nil {
		t.Error("no error")
	}
}

func TestFailedInstantiationIsGivenBackByClose(t *testing.T) {
	a := memory.New(10 * page)
	outside := []byte("\x0b\x09\x01\x00\x41\x80\x80\x10\x0b\x01x") // one byte at 256 KiB
	if _, err := instantiate(t, a, guest(1, outside...)); err == nil {
		t.Fatal("a data segment outside the memory was accepted")
	}
	a.Close()
	a.Close()
	if a.Bytes() != 0 {
		t.Errorf("%d bytes are held", a.Bytes())
	}
}

func BenchmarkGrowTo256MiB(b *testing.B) {
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	defer r.Close(ctx)
	compiled, err := r.CompileModule(ctx, guest(1))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		m, err := r.InstantiateModule(experimental.WithMemoryAllocator(ctx, memory.New(1<<30)), compiled, wazero.NewModuleConfig().WithName(""))
		if err != nil {
			b.Fatal(err)
		}
		for range 255 {
			if _, err := m.ExportedFunction("grow").Call(ctx, 16); err != nil {
				b.Fatal(err)
			}
		}
		m.Close(ctx)
	}
}
