package crash

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/compare"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// queryPoints are the failpoints of a pipeline that reads by queries.
var queryPoints = []string{"query-written", "query-committed", "deletes-written", "destination-committed"}

// TestKilledWhileQuerying kills pipelines that read in modes table, xmin and
// sql, at every failpoint and at random moments, while the source changes.
func TestKilledWhileQuerying(t *testing.T) {
	for i, v := range []struct {
		variant
		mode, objects string
	}{
		{variant{"duckdb", "hard", false, 1, false}, `mode = "table"`, included},
		{variant{"postgres", "soft", false, 1, false}, `mode = "xmin"`, included},
		{variant{"duckdb", "soft", false, 1, false}, "mode = \"sql\"\nquery = \"SELECT * FROM stock\"\nquery_name = \"stock\"", "[objects.\"public.stock\"]\nkey = [\"id\"]\n"},
	} {
		name, _, _ := strings.Cut(v.mode[8:], `"`)
		t.Run(v.destination+"_"+name, func(t *testing.T) {
			t.Parallel()
			p := newPipeline(t, pgserver.Test(t, pgserver.Options{}), v.variant, *seed+3000+100*int64(i))
			p.query(v.mode, v.objects)
			p.work()
			p.pace(quickly)
			random := rand.New(rand.NewPCG(uint64(p.seed), 3))
			for _, at := range random.Perm(len(queryPoints)) {
				p.killAt(queryPoints[at], 1+random.IntN(2))
			}
			for range 2 {
				p.killAfter(200*time.Millisecond + time.Duration(random.Int64N(int64(time.Second))))
			}
			p.rest()
			p.catchUp()
			p.equalStock()
		})
	}
}

// included selects the stock.
const included = "[objects]\ninclude = [\"public.stock\"]\n[objects.\"public.stock\"]\n"

// query makes the pipeline read the stock by queries, without end. objects ends
// in the section of the stock.
func (p *pipeline) query(mode, objects string) {
	p.t.Helper()
	text, err := os.ReadFile(p.file)
	if err != nil {
		p.t.Fatal(err)
	}
	changed := strings.Replace(string(text), "heartbeat = \"1s\"\n", mode+`
frequency = "continuous"
`+objects+"detect_deletes = true\n", 1)
	if err := os.WriteFile(p.file, []byte(changed), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// equalStock compares every row of the stock.
func (p *pipeline) equalStock() {
	p.t.Helper()
	p.compareStock()
	if code, _ := p.start("", "verify").wait(); code != 0 {
		p.t.Errorf("leat verify ended with code %d", code)
	}
}

func (p *pipeline) compareStock() {
	p.t.Helper()
	list, done := p.comparisons()
	defer done()
	for _, c := range list {
		if c.name != stock {
			continue
		}
		o := compare.Options{IgnorePrefix: "__leat_"}
		if p.deletes == "soft" {
			o.DeletedColumn = "__leat_marked_deleted"
		}
		r, err := compare.Tables(p.t.Context(), c.destination, o, c.sources...)
		if err != nil {
			p.t.Fatal(err)
		}
		if !r.Equal() || r.SourceRows < stockRows {
			p.t.Errorf("%s: %s", c.name, r)
		}
	}
}
