package wasm

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

func rowsPlugin(t testing.TB, h *Host, mode string, l Limits) *Transform {
	t.Helper()
	return transform(t, h, "./testdata/rows", Plugin{Name: "rows", Version: "1", Config: json.RawMessage(`{"mode": "` + mode + `"}`), Limits: l})
}

func TestRowsAreFilteredRoutedAndMultiplied(t *testing.T) {
	h := newHost(t)
	s := customers("shop")
	b := customerBatch(s, append(mixed[:len(mixed):len(mixed)], row{batch.Read, 6, [3]string{"hé", "n", null}})...)
	for _, c := range []struct {
		mode string
		want [][]string
	}{
		{"filter", [][]string{{"U|2|?|two|{}", "K|3|?|?|?", "U|4|~|?|~", "R|6|hé|n|~"}}},
		{"route", [][]string{
			{"U|2|?|two|{}", "K|3|?|?|?", "U|4|~|?|~", "R|6|hé|n|~"},
			{"I|1|ann@example.org|one|{1,NULL}", "D|3|?|?|?", "D|5|?|?|?"},
		}},
	} {
		tr := rowsPlugin(t, h, c.mode, Limits{})
		r := mustProcess(t, tr, mustPlan(t, tr, PlanInput{Schema: s}), b)
		if len(r.Batches) != len(c.want) {
			t.Errorf("%s: %d batches", c.mode, len(r.Batches))
			continue
		}
		for i := range c.want {
			wantRows(t, r.Batches[i], c.want[i]...)
		}
	}
	tr := rowsPlugin(t, h, "explode", Limits{})
	short := customerBatch(s, row{batch.Insert, 1, [3]string{"ab", "n", null}}, row{batch.Insert, 2, [3]string{"", "n", null}}, row{batch.Delete, 3, [3]string{absent, absent, absent}})
	r := mustProcess(t, tr, mustPlan(t, tr, PlanInput{Schema: s}), short)
	wantRows(t, r.Batches[0], "I|1|a|n|~", "I|1|b|n|~", "D|3|?|?|?")
	if r.Batches[0].Ordinal[1] != 1 || r.Batches[0].Ordinal[2] != 3 {
		t.Errorf("ordinals are %v", r.Batches[0].Ordinal)
	}
}

func TestOneFailedRowLeavesTheOthers(t *testing.T) {
	tr := rowsPlugin(t, newHost(t), "fail", Limits{})
	s := customers("shop")
	r := mustProcess(t, tr, mustPlan(t, tr, PlanInput{Schema: s}), customerBatch(s,
		row{batch.Insert, 1, [3]string{"a", "n", null}}, row{batch.OldKey, 3, [3]string{absent, absent, absent}},
		row{batch.Update, 4, [3]string{null, "n", null}}, row{batch.Update, 5, [3]string{absent, "n", null}}))
	wantRows(t, r.Batches[0], "I|1|<a>|n|~", "U|5|?|n|~")
	if len(r.Failed) != 2 || r.Failed[0] != (RowError{1, "three is refused"}) || r.Failed[1] != (RowError{2, pairFailed}) {
		t.Errorf("failed rows are %+v", r.Failed)
	}
}

func TestPanicAndExhaustionAreErrors(t *testing.T) {
	h := newHost(t)
	s := customers("shop")
	b := customerBatch(s, row{batch.Insert, 3, [3]string{"a", "n", null}})
	tr := rowsPlugin(t, h, "panic", Limits{})
	p := mustPlan(t, tr, PlanInput{Schema: s})
	_, err := tr.Process(context.Background(), p, b)
	wantError(t, err, KindGuest, "assignment to entry in nil map [main.go:")
	if tr.Stats().Recycled != 0 {
		t.Error("a recovered panic cost the instance")
	}
	tr = rowsPlugin(t, h, "exhaust", Limits{MemoryBytes: 32 << 20})
	p = mustPlan(t, tr, PlanInput{Schema: s})
	_, err = tr.Process(context.Background(), p, b)
	wantError(t, err, KindMemory, "more than its 33554432 bytes of memory: runtime: out of memory")
	ok := mustProcess(t, tr, p, customerBatch(s, row{batch.Insert, 4, [3]string{"a", "n", null}}))
	wantRows(t, ok.Batches[0], "I|4|<a>|n|~")
	if s := tr.Stats(); s.Instances != 2 || s.Recycled != 1 {
		t.Errorf("stats are %+v", s)
	}
}

// everyType is a table with a column of each type and random cells in it.
func everyType(seed uint64, rows int) *batch.Batch {
	random := rand.New(rand.NewPCG(seed, 0))
	s := &batch.Schema{Table: batch.TableID{Name: "all"}, Columns: []batch.Column{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Key: 1}}}
	for _, f := range []string{"u", "b", "s", "i", "l", "I", "f", "g", "z", "tdD", "ttu", "tsu:", "tsu:UTC", "w:16", "d:38,4", "d:76,4,256"} {
		typ, err := batch.ParseFormat(f)
		if err != nil {
			panic(err)
		}
		s.Columns = append(s.Columns, batch.Column{Name: "c" + f, Type: typ})
	}
	b := batch.NewBuilder(s)
	for r := range rows {
		b.Column(0).AppendUint64(uint64(r))
		for i := 1; i < len(s.Columns); i++ {
			appendRandom(random, b.Column(i), i)
		}
		b.EndRow(batch.Update, uint64(r), 1, 1)
	}
	return b.Finish(batch.Position{LSN: 9})
}

func appendRandom(random *rand.Rand, c *batch.ColumnBuilder, column int) {
	switch n := random.IntN(10); {
	case n == 0:
		c.AppendNull()
	case n == 1 && column%2 == 0:
		c.AppendAbsent()
	default:
		v := random.Uint64() >> random.IntN(64)
		switch c.Width() {
		case -1:
			c.AppendBytes([]byte(strings.Repeat("é", random.IntN(20))))
		case 0:
			c.AppendBool(v%2 == 0)
		case 2:
			c.AppendUint16(uint16(v))
		case 4:
			c.AppendUint32(uint32(v))
		case 8:
			c.AppendUint64(v % microsPerDay)
		default:
			wide := make([]byte, c.Width())
			wide[0], wide[7] = byte(v), byte(v>>8)
			c.AppendFixed(wide)
		}
	}
}

func TestEveryTypeCrossesBothWays(t *testing.T) {
	tr := rowsPlugin(t, newHost(t), "echo", Limits{})
	seed := rand.Uint64()
	b := everyType(seed, 1000)
	p := mustPlan(t, tr, PlanInput{Schema: b.Schema})
	check := func(b *batch.Batch) {
		t.Helper()
		if got, want := show(mustProcess(t, tr, p, b).Batches[0]), show(b); got != want {
			t.Errorf("seed %d: rows came back as\n%.2000s\nwant\n%.2000s", seed, got, want)
		}
	}
	check(b)
	// A slice has an Arrow offset in every buffer and bits off the byte.
	part := *b
	part.Rows = b.Rows.NewSlice(13, 500)
	part.Ops, part.LSN, part.Ordinal, part.CommitTime = b.Ops[13:500], b.LSN[13:500], b.Ordinal[13:500], b.CommitTime[13:500]
	part.Present = make([]batch.Bitmap, len(b.Present))
	for c, m := range b.Present {
		if m != nil {
			part.Present[c] = batch.NewBitmap(487)
			for i := range 487 {
				if m.Get(13 + i) {
					part.Present[c].Set(i)
				}
			}
		}
	}
	check(&part)
}

func TestBatchesRunBesideEachOther(t *testing.T) {
	tr := rowsPlugin(t, newHost(t), "echo", Limits{})
	b := everyType(1, 200)
	p := mustPlan(t, tr, PlanInput{Schema: b.Schema})
	want := show(b)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 10 {
				r, err := tr.Process(context.Background(), p, b)
				if err != nil {
					t.Error(err)
				} else if show(r.Batches[0]) != want {
					t.Error("rows changed")
				}
			}
		})
	}
	group.Wait()
	if s := tr.Stats(); s.Instances < 1 || s.Instances > 4 || s.Rows != 8000 {
		t.Errorf("stats are %+v", s)
	}
}
