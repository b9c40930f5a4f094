package desttest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	pdk "github.com/leat-etl/leat/pdk/go"

	"github.com/leat-etl/leat/engine/batch"
)

// row is what the model knows of a key.
type row struct {
	name, big *string
	deleted   bool
}

// change is one change of the source: kind is I, U, D, T, R for a row of a
// historical load, or M for an update that moves the row from another key. big is nil where it is not sent.
type change struct {
	kind      byte
	from, id  int64
	name, big *string
	bigAbsent bool
}

// model is a table as the source and the destination should have it.
type model struct {
	soft bool
	rows map[int64]row
}

func (m *model) live() []int64 {
	var out []int64
	for id, r := range m.rows {
		if !r.deleted {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// keys is how many keys a sequence has: few, so that they meet often.
const keys = 5

// next makes a change that is possible now and applies it.
func (m *model) next(r *rand.Rand, n int) change {
	live := m.live()
	var free []int64
	for id := range int64(keys) {
		if !slices.Contains(live, id) {
			free = append(free, id)
		}
	}
	text := func(kind string) *string {
		if r.IntN(5) == 0 {
			return nil
		}
		s := fmt.Sprintf("%s %d", kind, n)
		return &s
	}
	c := change{name: text("name"), big: text("big")}
	dice := r.IntN(20)
	switch {
	case dice == 0:
		c.kind = 'T'
	case len(live) == 0 || (dice < 7 && len(free) > 0):
		c.kind, c.id = 'I', free[r.IntN(len(free))]
	case dice < 11 && len(free) > 0:
		c.kind, c.from, c.id, c.bigAbsent = 'M', live[r.IntN(len(live))], free[r.IntN(len(free))], r.IntN(2) == 0
	case dice < 14:
		c.kind, c.id = 'D', live[r.IntN(len(live))]
	default:
		c.kind, c.id, c.bigAbsent = 'U', live[r.IntN(len(live))], r.IntN(2) == 0
	}
	m.apply(&c)
	return c
}

func (m *model) apply(c *change) {
	switch c.kind {
	case 'T':
		for id := range m.rows {
			m.remove(id)
		}
	case 'D':
		m.remove(c.id)
	case 'I':
		m.rows[c.id] = row{name: c.name, big: c.big}
	default:
		from := c.id
		if c.kind == 'M' {
			from = c.from
		}
		big := c.big
		if c.bigAbsent {
			big = m.rows[from].big
		}
		delete(m.rows, from)
		m.rows[c.id] = row{name: c.name, big: big}
	}
}

func (m *model) remove(id int64) {
	if !m.soft {
		delete(m.rows, id)
		return
	}
	r := m.rows[id]
	r.deleted = true
	m.rows[id] = r
}

func (m *model) String() string {
	var out []string
	for id := range int64(keys) {
		if r, ok := m.rows[id]; ok {
			out = append(out, fmt.Sprintf("%d %s %s %v", id, show(r.name), show(r.big), r.deleted))
		}
	}
	return strings.Join(out, "\n")
}

func show(s *string) string {
	if s == nil {
		return "NULL"
	}
	return *s
}

// modelSchema is the table of a sequence.
func modelSchema(name string) *batch.Schema {
	return &batch.Schema{Table: batch.TableID{Database: "shop", Schema: "public", Name: name}, Version: 1, Columns: []batch.Column{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, PG: batch.PGType{Name: "int8", OID: 20, Typmod: -1, Kind: "b"}, Key: 1},
		{Name: "name", Type: arrow.BinaryTypes.String, PG: batch.PGType{Name: "text", OID: 25, Typmod: -1, Kind: "b"}, Nullable: true},
		{Name: "big", Type: arrow.BinaryTypes.String, PG: batch.PGType{Name: "text", OID: 25, Typmod: -1, Kind: "b"}, Nullable: true},
	}}
}

// build makes a batch of changes.
func build(s *batch.Schema, changes []change) *batch.Batch { return buildAt(s, changes, 0) }

// buildAt makes a batch of changes that are the first and following ones of
// the log.
func buildAt(s *batch.Schema, changes []change, first int) *batch.Batch {
	b := batch.NewBuilder(s)
	text := func(col int, v *string) {
		if v == nil {
			b.Column(col).AppendNull()
		} else {
			b.Column(col).AppendBytes([]byte(*v))
		}
	}
	bare := func(op batch.Op, id int64, n int) {
		b.Column(0).AppendUint64(uint64(id))
		b.Column(1).AppendAbsent()
		b.Column(2).AppendAbsent()
		b.EndRow(op, uint64(n), 1, int64(n))
	}
	for i, c := range changes {
		i += first
		switch c.kind {
		case 'T':
			for col := range s.Columns {
				b.Column(col).AppendAbsent()
			}
			b.EndRow(batch.Truncate, uint64(i), 1, int64(i))
			continue
		case 'D':
			bare(batch.Delete, c.id, i)
			continue
		case 'M':
			bare(batch.OldKey, c.from, i)
		}
		b.Column(0).AppendUint64(uint64(c.id))
		text(1, c.name)
		if c.bigAbsent {
			b.Column(2).AppendAbsent()
		} else {
			text(2, c.big)
		}
		op := batch.Update
		switch c.kind {
		case 'I':
			op = batch.Insert
		case 'R':
			op = batch.Read
		}
		b.EndRow(op, uint64(i), 1, int64(i))
	}
	return b.Finish(batch.Position{LSN: 1})
}

// Seed is the seed of a random test: LEAT_TEST_SEED, or a new one, which it
// prints.
func Seed(t *testing.T) uint64 {
	seed := rand.Uint64()
	if text := os.Getenv("LEAT_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("LEAT_TEST_SEED=%d", seed)
	return seed
}

// Random applies random changes in random batches to a destination opened
// with the given way of deleting and compares it with the model.
func Random(t *testing.T, h *Host, open func(config string) pdk.Destination, schema string, sequences int) {
	r := rand.New(rand.NewPCG(Seed(t), 0))
	for _, deletes := range []string{"soft", "hard"} {
		d := open(fmt.Sprintf(`{"deletes": %q}`, deletes))
		for n := range sequences {
			s := modelSchema(fmt.Sprintf("%s_%d", deletes, n))
			if err := sequence(h, d, s, r, &model{soft: deletes == "soft", rows: map[int64]row{}}, schema); err != nil {
				t.Fatalf("%s, sequence %d: %v", deletes, n, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func sequence(h *Host, d pdk.Destination, s *batch.Schema, r *rand.Rand, m *model, schema string) error {
	p, err := h.Plan(d, s)
	if err != nil {
		return err
	}
	var changes []change
	var log strings.Builder
	for n := range 40 {
		changes = append(changes, m.next(r, n))
	}
	for len(changes) > 0 {
		n := 1
		for n < len(changes) && changes[0].kind != 'T' && changes[n].kind != 'T' && r.IntN(4) != 0 {
			n++
		}
		for _, c := range changes[:n] {
			fmt.Fprintf(&log, "%c %d>%d %s %s %v; ", c.kind, c.from, c.id, show(c.name), show(c.big), c.bigAbsent)
		}
		log.WriteString("\n")
		if err := deliver(h, d, p, build(s, changes[:n]), r); err != nil {
			return fmt.Errorf("%w\n%s", err, log.String())
		}
		changes = changes[n:]
	}
	got, err := h.state(schema, s.Table.Name, m.soft)
	if err == nil && got != m.String() {
		err = fmt.Errorf("got\n%s\nwant\n%s\nafter\n%s", got, m, log.String())
	}
	return err
}

// deliver writes one batch, sometimes takes it back and writes it again.
func deliver(h *Host, d pdk.Destination, p *pdk.TablePlan, whole *batch.Batch, r *rand.Rand) error {
	defer whole.Release()
	b := batch.Compact(whole)
	defer b.Release()
	if err := h.Write(d, p, b); err != nil {
		return err
	}
	if r.IntN(5) == 0 {
		if err := d.Rollback(); err != nil {
			return err
		}
		if err := h.Write(d, p, b); err != nil {
			return err
		}
	}
	return d.Commit(nil)
}

func (h *Host) state(schema, table string, soft bool) (string, error) {
	marked := "false"
	if soft {
		marked = `"__leat_marked_deleted"`
	}
	rows, err := h.DB.Query(h.ctx, fmt.Sprintf(`SELECT id, name, big, %s FROM "%s"."%s" ORDER BY id`, marked, schema, table))
	if err != nil {
		return "", err
	}
	out := make([]string, len(rows.Rows))
	for i, r := range rows.Rows {
		out[i] = fmt.Sprintf("%s %s %s %v", *r[0], show(r[1]), show(r[2]), strings.HasPrefix(*r[3], "t"))
	}
	return strings.Join(out, "\n"), nil
}
