package meter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/plugins/wasm/meter"
)

// A module's blocks, however deep, are not gone through again for each of them.
func TestNestingCostsNoMoreThanItsText(t *testing.T) {
	took := func(depth int) time.Duration {
		arms := strings.Repeat("\x20\x00\x04\x40\x01\x0b\x03\x40\x0b", 20_000)
		code := strings.Repeat("\x02\x40", depth) + arms + strings.Repeat("\x0b", depth)
		wasm := assemble(function{locals: "\x01\x01\x7f", code: code})
		start := time.Now()
		if _, _, err := meter.Instrument(wasm, meter.Options{}); err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	}
	took(1)
	if flat, deep := took(1), took(9_000); deep > 20*flat {
		t.Errorf("%s with one block around it, %s with 9,000", flat, deep)
	}
}
