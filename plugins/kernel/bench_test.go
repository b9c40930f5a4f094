package kernel

import "testing"

func BenchmarkAppendJSON(b *testing.B) {
	literal := []byte(`{12345,NULL,3}`)
	var dst []byte
	for b.Loop() {
		dst, _ = appendJSON(dst[:0], literal, style{kind: number, comma: ','})
	}
}
