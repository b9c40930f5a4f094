//go:build duckdb_arrow

package capability

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// keylessBatch has a row whose id is known, one that lacks a cell, and an old
// row.
func keylessBatch() *batch.Batch {
	s := &batch.Schema{Table: batch.TableID{Database: "d", Schema: "public", Name: "heap"}, Version: 1, Columns: []batch.Column{
		{Name: "n", Type: arrow.PrimitiveTypes.Int32, PG: batch.PGType{Typmod: -1}},
		{Name: "b", Type: arrow.FixedWidthTypes.Boolean, PG: batch.PGType{Typmod: -1}},
		{Name: "a", Type: arrow.BinaryTypes.String, PG: batch.PGType{Typmod: -1}},
	}}
	b := batch.NewBuilder(s)
	b.Column(0).AppendUint32(7)
	b.Column(1).AppendNull()
	b.Column(2).AppendBytes([]byte("é"))
	b.EndRow(batch.Insert, 1, 1, 1)
	b.Column(0).AppendUint32(7)
	b.Column(1).AppendBool(true)
	b.Column(2).AppendAbsent()
	b.EndRow(batch.Update, 1, 2, 1)
	b.Column(0).AppendNull()
	b.Column(1).AppendBool(true)
	b.Column(2).AppendNull()
	b.EndRow(batch.OldKey, 1, 3, 1)
	return b.Finish(batch.Position{})
}

// TestRowIDs holds the ids against the form that pdk/README.md describes, in
// both drivers.
func TestRowIDs(t *testing.T) {
	sum := func(text string) string {
		h := sha256.Sum256([]byte(text))
		return hex.EncodeToString(h[:])
	}
	want := []string{sum("\x00\x00\x00\x01a\x00\x00\x00\x02é\x00\x00\x00\x01n\x00\x00\x00\x017"), "", sum("\x00\x00\x00\x01b\x00\x00\x00\x01t")}
	duck := openTestDuckDB(t)
	b := keylessBatch()
	defer b.Release()
	for name, db := range map[string]SQL{"duckdb": duck, "postgres": openTestPostgres(t)} {
		for _, number := range []string{"bigint", "numeric"} { // the second makes the COPY one of text
			in := Ingest{Table: "ids", Temporary: true, Columns: []IngestColumn{
				{Name: "id", Type: "text", From: FromRowID}, {Name: "n", Type: number, From: FromRow}, {Name: "since", Type: "timestamp with time zone", From: FromIngestTime}}}
			if _, err := db.Ingest(t.Context(), b, in); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			rows, err := db.Query(t.Context(), "SELECT coalesce(id, ''), since > now() - interval '1 hour' FROM ids ORDER BY n")
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range rows.Rows {
				if *r[0] != want[i] || (*r[1])[0] != 't' {
					t.Errorf("%s: row %d has the id %q, want %q; read within the hour: %s", name, i, *r[0], want[i], *r[1])
				}
			}
			in.Table, in.Temporary, in.Ops = "ids", false, "K"
			if n, err := db.Ingest(t.Context(), b, in); err != nil || n != 1 {
				t.Errorf("%s: %d old rows, %v", name, n, err)
			}
		}
	}
}
