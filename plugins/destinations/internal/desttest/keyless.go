package desttest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	pdk "github.com/leat-etl/leat/pdk/go"

	"github.com/leat-etl/leat/engine/batch"
)

// keylessRow is a row of a table without a key; equal rows are common.
type keylessRow struct {
	number, text int // of the palettes; -1 is NULL
}

// numbers and texts are the palettes: what is hard to compare.
var (
	numbers = []float64{1.5, math.NaN(), math.Copysign(0, -1), math.Inf(1)}
	texts   = []string{`{"a": 1}`, `{"a":1}`, ``, `null`}
)

func (r keylessRow) String() string {
	out := []string{"NULL", "NULL"}
	if r.number >= 0 {
		out[0] = []string{"1.5", "nan", "zero", "inf"}[r.number]
	}
	if r.text >= 0 {
		out[1] = texts[r.text]
	}
	return strings.Join(out, " ")
}

func keylessSchema(name string) *batch.Schema {
	return &batch.Schema{Table: batch.TableID{Database: "shop", Schema: "public", Name: name}, Version: 1, Columns: []batch.Column{
		{Name: "number", Type: arrow.PrimitiveTypes.Float64, PG: batch.PGType{Name: "float8", OID: 701, Typmod: -1, Kind: "b"}, Nullable: true},
		{Name: "rowid", Type: arrow.BinaryTypes.String, PG: batch.PGType{Name: "text", OID: 25, Typmod: -1, Kind: "b"}, Nullable: true},
		{Name: "list", Type: arrow.BinaryTypes.String, PG: batch.PGType{Name: "json", OID: 114, Typmod: -1, Kind: "b"}, Nullable: true},
	}}
}

func (r keylessRow) append(b *batch.Builder) {
	if r.number < 0 {
		b.Column(0).AppendNull()
	} else {
		b.Column(0).AppendUint64(math.Float64bits(numbers[r.number]))
	}
	if r.text < 0 {
		b.Column(1).AppendNull()
	} else {
		b.Column(1).AppendBytes([]byte(texts[r.text]))
	}
	b.Column(2).AppendBytes([]byte(`[1, 2]`))
}

// keylessModel is a table without a key as it should be: its rows, and those
// marked as deleted.
type keylessModel struct {
	rows, marked []keylessRow
	soft         bool
}

// change makes a random change and adds it to a batch.
func (m *keylessModel) change(r *rand.Rand, b *batch.Builder, n uint64) {
	random := func() keylessRow { return keylessRow{r.IntN(5) - 1, r.IntN(3) - 1} }
	at, dice := 0, r.IntN(10)
	if len(m.rows) == 0 {
		dice = 0
	} else {
		at = r.IntN(len(m.rows))
	}
	switch {
	case dice < 5:
		row := random()
		m.rows = append(m.rows, row)
		row.append(b)
		b.EndRow(batch.Insert, 1, n, 1)
	case dice < 8:
		m.rows[at].append(b)
		b.EndRow(batch.OldKey, 1, n, 1)
		m.rows[at] = random()
		m.rows[at].append(b)
		b.EndRow(batch.Update, 1, n, 1)
	default:
		m.rows[at].append(b)
		b.EndRow(batch.Delete, 1, n, 1)
		if m.soft {
			m.marked = append(m.marked, m.rows[at])
		}
		m.rows = slices.Delete(m.rows, at, at+1)
	}
}

func (m *keylessModel) String() string {
	var out []string
	for _, r := range m.rows {
		out = append(out, r.String()+" false")
	}
	for _, r := range m.marked {
		out = append(out, r.String()+" true")
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// RandomKeyless applies random changes of a table without a key, of which many
// rows are equal, and compares it with the model. Half-way the ids of the rows
// are spoilt, as a change of the table does.
func RandomKeyless(t *testing.T, h *Host, open func(config string) pdk.Destination, schema string, sequences int) {
	r := rand.New(rand.NewPCG(Seed(t), 0))
	for _, deletes := range []string{"soft", "hard"} {
		d := open(fmt.Sprintf(`{"deletes": %q}`, deletes))
		for n := range sequences {
			s := keylessSchema(fmt.Sprintf("keyless_%s_%d", deletes, n))
			if err := keylessSequence(h, d, s, r, &keylessModel{soft: deletes == "soft"}, schema); err != nil {
				t.Fatalf("%s, sequence %d: %v", deletes, n, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func keylessSequence(h *Host, d pdk.Destination, s *batch.Schema, r *rand.Rand, m *keylessModel, schema string) error {
	p, err := h.Plan(d, s)
	if err != nil {
		return err
	}
	for n := range 12 {
		b := batch.NewBuilder(s)
		for i := range 1 + r.IntN(8) {
			m.change(r, b, uint64(i))
		}
		if err := deliver(h, d, p, b.Finish(batch.Position{LSN: 1}), r); err != nil {
			return err
		}
		got, err := h.keylessState(schema, p, m.soft)
		if err != nil {
			return err
		}
		if got != m.String() {
			return fmt.Errorf("batch %d: got\n%s\nwant\n%s", n, got, m)
		}
		if n == 6 {
			if _, err := h.DB.Exec(h.ctx, fmt.Sprintf(`UPDATE %s SET "__leat_id" = 'spoilt'`, p.Table)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *Host) keylessState(schema string, p *pdk.TablePlan, soft bool) (string, error) {
	marked := "false"
	if soft {
		marked = `"__leat_marked_deleted"`
	}
	rows, err := h.DB.Query(h.ctx, fmt.Sprintf(`SELECT CASE WHEN number = 0 THEN 'zero' ELSE substr(lower(CAST(number AS varchar)), 1, 3) END, %q, %s FROM %s`, p.Columns[1].Name, marked, p.Table))
	if err != nil {
		return "", err
	}
	out := make([]string, len(rows.Rows))
	for i, r := range rows.Rows {
		out[i] = fmt.Sprintf("%s %s %v", show(r[0]), show(r[1]), strings.HasPrefix(*r[2], "t"))
	}
	slices.Sort(out)
	return strings.Join(out, "\n"), nil
}
