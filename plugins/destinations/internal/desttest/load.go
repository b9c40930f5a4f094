package desttest

import (
	"fmt"
	"testing"

	pdk "github.com/leat-etl/leat/pdk/go"

	"github.com/leat-etl/leat/engine/batch"
)

// Load measures how fast batches of new keys land in a growing table: a
// historical load with Read, the log's inserts with Insert.
func Load(b *testing.B, h *Host, open func(config string) pdk.Destination) {
	for _, deletes := range []string{"soft", "hard"} {
		for _, op := range []batch.Op{batch.Read, batch.Insert} {
			b.Run(deletes+" "+op.String(), func(b *testing.B) {
				loadRows(b, h, open(fmt.Sprintf(`{"deletes": %q}`, deletes)), fmt.Sprintf("%s_%s", deletes, op), op)
			})
		}
	}
}

func loadRows(b *testing.B, h *Host, d pdk.Destination, name string, op batch.Op) {
	const rows = 20_000
	s := modelSchema(fmt.Sprintf("%s_%d", name, b.N))
	p, err := h.Plan(d, s)
	if err != nil {
		b.Fatal(err)
	}
	next := 0
	for b.Loop() {
		builder := batch.NewBuilder(s)
		for range rows {
			builder.Column(0).AppendUint64(uint64(next))
			builder.Column(1).AppendBytes(fmt.Appendf(nil, "name %d", next))
			builder.Column(2).AppendBytes([]byte("some text of a common length, neither short nor long"))
			builder.EndRow(op, 1, uint64(next), 1)
			next++
		}
		full := builder.Finish(batch.Position{})
		if err := h.Write(d, p, full); err != nil {
			b.Fatal(err)
		}
		full.Release()
		if err := d.Commit(nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(next)/b.Elapsed().Seconds(), "rows/s")
}
