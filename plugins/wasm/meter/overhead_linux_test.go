package meter_test

import (
	"context"
	"runtime"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero/api"
	"golang.org/x/sys/unix"
)

// BenchmarkOverhead prints the processor time of a metered kernel over that of
// the same kernel as it was, the median of pairs that alternate in one run.
func BenchmarkOverhead(b *testing.B) {
	for language, wasm := range guests(b) {
		h := newHost(b)
		metered, _ := instrument(b, wasm)
		modules := [2]api.Module{h.instance(b, wasm), h.instance(b, metered)}
		for _, m := range modules {
			if _, err := m.ExportedFunction("prepare").Call(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
		for _, kernel := range kernels {
			b.Run(language+"/"+kernel, func(b *testing.B) {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				var ratios []float64
				for b.Loop() {
					var took [2]int64
					for i, m := range modules {
						f := m.ExportedFunction(kernel)
						start := cpu()
						if _, err := f.Call(context.Background(), 10); err != nil {
							b.Fatal(err)
						}
						took[i] = cpu() - start
					}
					ratios = append(ratios, float64(took[1])/float64(took[0]))
				}
				slices.Sort(ratios)
				b.ReportMetric(ratios[len(ratios)/2], "metered/plain")
			})
		}
	}
}

// cpu is the processor time of this thread in nanoseconds.
func cpu() int64 {
	var u unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &u)
	return u.Nano()
}
