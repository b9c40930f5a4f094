package desttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	pdk "github.com/leat-etl/leat/pdk/go"

	"github.com/leat-etl/leat/engine/batch"
)

// version is a state that a row had, from and until the n-th change; until is
// -1 while it lasts.
type version struct {
	id          int64
	name, big   *string
	from, until int
	marked      bool
}

// versions is the history that a table should have.
type versions struct {
	all  []version
	hard bool
}

// end closes the current version of a key and returns it.
func (v *versions) end(id int64, n int, deleted bool) version {
	for i := range v.all {
		if v.all[i].id == id && v.all[i].until < 0 {
			v.all[i].until, v.all[i].marked = n, deleted
			return v.all[i]
		}
	}
	return version{}
}

func (v *versions) apply(c change, n int) {
	switch c.kind {
	case 'T':
		for id := range int64(keys) {
			v.end(id, n, true)
		}
		return
	case 'D':
		v.end(c.id, n, true)
		if v.hard {
			v.all = slices.DeleteFunc(v.all, func(one version) bool { return one.id == c.id })
		}
		return
	}
	from := c.id
	if c.kind == 'M' {
		from = c.from
	}
	before := v.end(from, n, false)
	big := c.big
	if c.bigAbsent {
		big = before.big
	}
	v.all = append(v.all, version{id: c.id, name: c.name, big: big, from: n, until: -1})
}

func (v *versions) String() string {
	out := make([]string, len(v.all))
	for i, one := range v.all {
		out[i] = fmt.Sprintf("%d %s %s %d %d", one.id, show(one.name), show(one.big), one.from, one.until)
		if !v.hard {
			out[i] += fmt.Sprintf(" %v", one.marked)
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// RandomHistory applies random changes to a destination that keeps every
// version, some batches twice and some after they were taken back, and
// compares each version with the model.
func RandomHistory(t *testing.T, h *Host, open func(config string) pdk.Destination, schema string, sequences int) {
	r := rand.New(rand.NewPCG(Seed(t), 0))
	for _, deletes := range []string{"soft", "hard"} {
		config := fmt.Sprintf(`{"load_mode": "history", "truncate": "mark", "deletes": %q}`, deletes)
		for n := range sequences {
			d := open(config) // anew, as after a restart
			s := modelSchema(fmt.Sprintf("history_%s_%d", deletes, n))
			if err := historySequence(h, d, s, r, &versions{hard: deletes == "hard"}); err != nil {
				t.Fatalf("%s, sequence %d: %v", deletes, n, err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func historySequence(h *Host, d pdk.Destination, s *batch.Schema, r *rand.Rand, v *versions) error {
	p, err := h.Plan(d, s)
	if err != nil {
		return err
	}
	m := &model{rows: map[int64]row{}}
	var changes []change
	var log strings.Builder
	for n := range 40 {
		changes = append(changes, m.next(r, n))
	}
	for first := 0; first < len(changes); {
		last := first + 1
		for last < len(changes) && changes[first].kind != 'T' && changes[last].kind != 'T' && r.IntN(4) != 0 {
			last++
		}
		for i, c := range changes[first:last] {
			v.apply(c, first+i)
			fmt.Fprintf(&log, "%d: %c %d>%d %s %s %v; ", first+i, c.kind, c.from, c.id, show(c.name), show(c.big), c.bigAbsent)
		}
		log.WriteString("\n")
		if err := deliverFilled(h, d, p, buildAt(s, changes[first:last], first), r); err != nil {
			return fmt.Errorf("%w\n%s", err, log.String())
		}
		first = last
	}
	got, err := h.history(p, v.hard)
	if err == nil && got != v.String() {
		err = fmt.Errorf("got\n%s\nwant\n%s\nafter\n%s", got, v, log.String())
	}
	return err
}

// deliverFilled writes one batch, sometimes takes it back before, and
// sometimes writes it once more after its commit.
func deliverFilled(h *Host, d pdk.Destination, p *pdk.TablePlan, whole *batch.Batch, r *rand.Rand) error {
	defer whole.Release()
	b := batch.Fill(whole)
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
	if err := d.Commit(nil); err != nil || r.IntN(3) > 0 {
		return err
	}
	if err := h.Write(d, p, b); err != nil {
		return err
	}
	return d.Commit(nil)
}

func (h *Host) history(p *pdk.TablePlan, hard bool) (string, error) {
	micros := func(column string) string {
		return fmt.Sprintf(`coalesce(CAST(EXTRACT(epoch FROM "__leat_%s") * 1000000 AS bigint), -1)`, column)
	}
	marked := `"__leat_marked_deleted"`
	if hard {
		marked = "false"
	}
	rows, err := h.DB.Query(h.ctx, fmt.Sprintf(`SELECT id, name, big, %s, %s, %s FROM %s`, micros("valid_from"), micros("valid_to"), marked, p.Table))
	if err != nil {
		return "", err
	}
	out := make([]string, len(rows.Rows))
	for i, r := range rows.Rows {
		out[i] = fmt.Sprintf("%s %s %s %s %s", *r[0], show(r[1]), show(r[2]), *r[3], *r[4])
		if !hard {
			out[i] += fmt.Sprintf(" %v", strings.HasPrefix(*r[5], "t"))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n"), nil
}
