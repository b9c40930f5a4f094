package wasm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine/batch"
)

// benchBatch has 8192 rows of customers.
func benchBatch() *batch.Batch {
	b := batch.NewBuilder(customers("shop"))
	for i := range 8192 {
		b.Column(0).AppendUint64(uint64(i))
		b.Column(1).AppendBytes(fmt.Appendf(nil, "person%d@example.org", i))
		b.Column(2).AppendBytes([]byte("a note of moderate length for every row"))
		b.Column(3).AppendBytes(fmt.Appendf(nil, "{%d,NULL,3}", i))
		b.EndRow(batch.Insert, 1, uint64(i), 1)
	}
	return b.Finish(batch.Position{LSN: 1})
}

func benchProcess(b *testing.B, tr *Transform, in *batch.Batch, bytes int64) {
	p := mustPlan(b, tr, PlanInput{Schema: in.Schema})
	ctx := context.Background()
	b.SetBytes(bytes)
	b.ReportAllocs()
	for b.Loop() {
		r, err := tr.Process(ctx, p, in)
		if err != nil {
			b.Fatal(err)
		}
		for _, out := range r.Batches {
			out.Release()
		}
	}
	b.ReportMetric(float64(in.Len())*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkCall is what a batch of one row costs beside its data.
func BenchmarkCall(b *testing.B) {
	one := customerBatch(customers("shop"), row{batch.Insert, 1, [3]string{"a", "b", null}})
	b.Run("go", func(b *testing.B) { benchProcess(b, rowsPlugin(b, newHost(b), "nothing", Limits{}), one, 0) })
	b.Run("native", func(b *testing.B) {
		benchProcess(b, transform(b, newHost(b), "../../transforms/database-name", Plugin{}), one, 0)
	})
}

// BenchmarkColumnIn is the way of a text column into a guest that ignores it.
func BenchmarkColumnIn(b *testing.B) {
	in := benchBatch()
	size := 8192*8 + int64(8193*4) + int64(in.Rows.Column(1).Data().Buffers()[2].Len())
	reply := `{"ok": {"needs": [0, 1], "computed": [], "filters": true, "outputs": [{"table": {"database": "d", "schema": "s", "name": "t"}, "columns": []}]}}`
	c := good(reply)
	c.image = c.image[:resultAt+64]
	clear(c.image[resultAt:])
	c.image.u32(resultAt+8, 8192)
	c.alloc, c.pages = i32const(1<<16), 64
	tr, err := newHost(b).Transform(context.Background(), c.bytes(), Plugin{Name: "in", Version: "1"})
	if err != nil {
		b.Fatal(err)
	}
	benchProcess(b, tr, in, size)
}

// BenchmarkTransform is the bundled transforms on one text column each.
func BenchmarkTransform(b *testing.B) {
	in := benchBatch()
	for _, c := range []struct{ name, plugin, config string }{
		{"array-to-varchar json", "array-to-varchar", `{}`},
		{"array-to-varchar postgres", "array-to-varchar", `{"format": "postgres"}`},
		{"merge-tables", "merge-tables", `{}`},
		{"database-name", "database-name", `{}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			tr := transform(b, newHost(b), "../../transforms/"+c.plugin, Plugin{Config: json.RawMessage(c.config)})
			benchProcess(b, tr, in, 0)
		})
	}
}

// BenchmarkKernel is what a kernel of a plan costs beside the same loop in Go,
// the yardstick, and beside a guest that does the work itself.
func BenchmarkKernel(b *testing.B) {
	in := benchBatch()
	for _, c := range []struct {
		name, plugin, config, guest, guestConfig string
		column                                   int
		native                                   func(dst, value []byte) []byte
	}{
		{"sha256", "mask", `{"columns": ["email"]}`, "", "", 1, func(dst, value []byte) []byte {
			sum := sha256.Sum256(value)
			return hex.AppendEncode(dst, sum[:])
		}},
		{"keep-domain", "mask", `{"columns": ["email"], "method": "keep-domain"}`, "mask-email", `{"column": "email"}`, 1, func(dst, value []byte) []byte {
			return append(append(dst, "***"...), value[bytes.LastIndexByte(value, '@'):]...)
		}},
		{"array-json", "array-to-varchar", `{}`, "array-json", `{"column": "scores"}`, 3, nil},
	} {
		b.Run(c.name+"/kernel", func(b *testing.B) {
			benchProcess(b, transform(b, newHost(b), "../../transforms/"+c.plugin, Plugin{Config: json.RawMessage(c.config)}), in, 0)
		})
		if c.native != nil {
			b.Run(c.name+"/native", func(b *testing.B) { benchNative(b, in.Rows.Column(c.column).(*array.String), c.native) })
		}
		if c.guest != "" {
			b.Run(c.name+"/guest", func(b *testing.B) {
				benchProcess(b, transform(b, newHost(b), "../../pdk/go/examples/"+c.guest, Plugin{Config: json.RawMessage(c.guestConfig)}), in, 0)
			})
		}
	}
}

// benchNative fills a column the plainest way.
func benchNative(b *testing.B, in *array.String, f func(dst, value []byte) []byte) {
	for b.Loop() {
		offsets, data := make([]int32, 1, in.Len()+1), make([]byte, 0, 80*in.Len())
		for row := range in.Len() {
			data = f(data, []byte(in.Value(row)))
			offsets = append(offsets, int32(len(data)))
		}
	}
	b.ReportMetric(float64(in.Len())*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkParallel is what instances of one plugin do beside each other, one
// for each core: rounds with one and with all take turns, and the best of them
// has to come near the number of cores.
func BenchmarkParallel(b *testing.B) {
	cores := runtime.GOMAXPROCS(0)
	if cores == 1 {
		b.Skip("one core: nothing runs beside anything")
	}
	in := benchBatch()
	tr := transform(b, newHost(b), "../../pdk/go/examples/mask-email", Plugin{Config: json.RawMessage(`{"column": "email"}`)})
	p := mustPlan(b, tr, PlanInput{Schema: in.Schema})
	const batches = 40
	round := func(workers int) float64 { // batches a second
		var g errgroup.Group
		began := time.Now()
		for range workers {
			g.Go(func() error {
				for range batches {
					r, err := tr.Process(context.Background(), p, in)
					if err != nil {
						return err
					}
					for _, out := range r.Batches {
						out.Release()
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		return float64(workers*batches) / time.Since(began).Seconds()
	}
	best := 0.0
	for b.Loop() {
		for range 5 {
			best = max(best, round(cores)/round(1))
		}
	}
	b.ReportMetric(best, "of-one-core")
	if best < 0.75*float64(cores) {
		b.Errorf("%d instances on %d cores do %.2f times what one does, want %.2f", cores, cores, best, 0.75*float64(cores))
	}
}
