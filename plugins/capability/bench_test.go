package capability

import (
	"bytes"
	"io"
	"testing"
)

// rate reports rows a second beside the time of a call.
func rate(b *testing.B, rows int) {
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

const benchRows = 50_000

// benchmarkIngest measures Ingest into a table that is emptied before each
// call.
func benchmarkIngest(b *testing.B, db SQL, temporary bool) {
	rows := accounts(0, benchRows)
	defer rows.Release()
	columns := columnsOf(rows.Schema, accountTypes)
	if err := create(b.Context(), db, "bench", columns); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		if _, err := db.Exec(b.Context(), "DELETE FROM bench"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := db.Ingest(b.Context(), rows, Ingest{Table: "bench", Temporary: temporary, Columns: columns}); err != nil {
			b.Fatal(err)
		}
	}
	rate(b, benchRows)
}

func BenchmarkPostgresIngest(b *testing.B)      { benchmarkIngest(b, openTestPostgres(b), false) }
func BenchmarkPostgresIngestStage(b *testing.B) { benchmarkIngest(b, openTestPostgres(b), true) }

// BenchmarkPostgresCopy is the yardstick of BenchmarkPostgresIngest: the same
// rows, encoded beforehand.
func BenchmarkPostgresCopy(b *testing.B) {
	db := openTestPostgres(b).(*postgres)
	rows := accounts(0, benchRows)
	defer rows.Release()
	columns := columnsOf(rows.Schema, accountTypes)
	if err := create(b.Context(), db, "bench", columns); err != nil {
		b.Fatal(err)
	}
	var r copyReader
	r.reset(nil, rows.Len(), true)
	for _, c := range columns {
		if err := r.add(rows, c); err != nil {
			b.Fatal(err)
		}
	}
	encoded, err := io.ReadAll(&r)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		if _, err := db.Exec(b.Context(), "DELETE FROM bench"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := db.copyFrom(b.Context(), copyStatement(Ingest{Table: "bench", Columns: columns}, true), bytes.NewReader(encoded)); err != nil {
			b.Fatal(err)
		}
	}
	rate(b, benchRows)
}

// BenchmarkEncodeCopy is the cost of the encoder alone.
func BenchmarkEncodeCopy(b *testing.B) {
	rows := accounts(0, benchRows)
	defer rows.Release()
	columns := columnsOf(rows.Schema, accountTypes)
	var r copyReader
	for b.Loop() {
		r.reset(nil, rows.Len(), true)
		for _, c := range columns {
			if err := r.add(rows, c); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := io.Copy(io.Discard, &r); err != nil {
			b.Fatal(err)
		}
	}
	rate(b, benchRows)
}
