package postgres

import (
	"io"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// BenchmarkLoad compares a client that throws a binary COPY away with ReadChunk
// of the same rows: what decoding into batches costs.
func BenchmarkLoad(b *testing.B) {
	server := pgserver.Test(b, pgserver.Options{})
	database := server.Database(b)
	conn, err := pgx.Connect(b.Context(), server.SocketDSN(database))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	for _, sql := range []string{
		`CREATE TABLE accounts (aid int PRIMARY KEY, bid int, filler char(84))`,
		`INSERT INTO accounts SELECT i, i % 10, '' FROM generate_series(1, 500000) i`,
		`CREATE TABLE orders (id bigint PRIMARY KEY, customer int, shop int, created timestamptz, updated timestamptz, total numeric(12,2),
			status text, currency text, doc jsonb, tags text[], paid bool, token uuid)`,
		`INSERT INTO orders SELECT i, i % 1000, i % 10, now() - i * interval '1 minute', now(), (i % 100000) / 100.0, 'shipped', 'EUR',
			jsonb_build_object('lines', jsonb_build_array(jsonb_build_object('sku', md5(i::text), 'n', i % 5), jsonb_build_object('sku', md5((i + 1)::text), 'n', 1)), 'note', repeat('n', 60)),
			ARRAY['new', 'tag ' || i % 7], i % 2 = 0, gen_random_uuid() FROM generate_series(1, 200000) i`,
		`VACUUM ANALYZE`,
	} {
		if _, err := conn.Exec(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
	cfg := configOf(server, database)
	cfg.Host = socketOf(b, conn)
	source, err := Open(b.Context(), cfg, database)
	if err != nil {
		b.Fatal(err)
	}
	defer source.Close(b.Context())
	snapshot, err := source.TakeSnapshot(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer snapshot.Close(b.Context())
	reader, err := snapshot.Join(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer reader.Close(b.Context())
	for _, name := range []string{"accounts", "orders"} {
		tables, err := source.Tables(b.Context(), Selection{Include: []string{name}})
		if err != nil {
			b.Fatal(err)
		}
		table := tables[0]
		chunks, err := source.PlanChunks(b.Context(), table, 1<<40)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/raw", func(b *testing.B) {
			for b.Loop() {
				if _, err := conn.PgConn().CopyTo(b.Context(), io.Discard, `COPY `+name+` TO STDOUT (FORMAT binary)`); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(table.Rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
		b.Run(name+"/batches", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rows, _, err := reader.ReadChunk(b.Context(), table, chunks[0], Limit{Rows: 16384, Bytes: 16 << 20}, func(batch *batch.Batch, _ []RawFailure) error {
					batch.Release()
					return nil
				})
				if err != nil || rows != table.Rows {
					b.Fatal(rows, err)
				}
			}
			b.ReportMetric(float64(table.Rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// socketOf is the folder of the server's Unix socket.
func socketOf(b *testing.B, conn *pgx.Conn) string {
	var folder string
	if err := conn.QueryRow(b.Context(), `SELECT current_setting('unix_socket_directories')`).Scan(&folder); err != nil {
		b.Fatal(err)
	}
	return folder
}
