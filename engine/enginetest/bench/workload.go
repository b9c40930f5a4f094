package main

import (
	"fmt"
	"strings"
)

// table is one of the two tables that everything is measured with.
type table struct {
	name, ddl string
	// fill is the SELECT list of row n.
	fill string
	// source and duck are the row as one text, the same at both ends.
	source, duck string
	// array is the text of the array column at the source and in DuckDB, where
	// the features turn it into JSON.
	array, arrayJSON, duckArray string
	// masked are the columns that mask hashes.
	masked []string
}

var accounts = table{
	name:   "accounts",
	ddl:    "CREATE TABLE accounts (aid int PRIMARY KEY, bid int NOT NULL, filler text NOT NULL)",
	fill:   "n, n / 1000, rpad(md5(n::text), 84, 'x')",
	source: "concat_ws('|', aid, bid, filler)", duck: "concat_ws('|', aid, bid, filler)",
	masked: []string{"filler"},
}

var orders = table{
	name: "orders",
	ddl: `CREATE TABLE orders (id bigint PRIMARY KEY, customer int, item int, ordered timestamptz, shipped timestamptz, total numeric(12,2),
		status text, country text, attributes jsonb, tags text[], paid bool, ref uuid)`,
	fill: `n, n % 10000, n % 777, '2024-01-01'::timestamptz + n * interval '1.7 s', '2024-02-01'::timestamptz + n * interval '1.3 s', n * 1.37,
		'shipped', 'DE', jsonb_build_object('a', n, 'text', repeat('lorem ipsum ', 12), 'list', jsonb_build_array(1, 2, 3)), ARRAY['new', 'x' || n], n % 2 = 0, md5(n::text)::uuid`,
	source: "concat_ws('|', id, customer, item, (extract(epoch from ordered) * 1000000)::bigint, (extract(epoch from shipped) * 1000000)::bigint, total, status, country, attributes::text, paid::int, ref)",
	duck:   "concat_ws('|', id, customer, item, epoch_us(ordered), epoch_us(shipped), total, status, country, attributes::varchar, paid::int, ref)",
	array:  "array_to_string(tags, ',')", arrayJSON: "array_to_json(tags)::text", duckArray: "array_to_string(tags, ',')",
	masked: []string{"status", "country"},
}

// wide has as many columns as PostgreSQL allows.
var wide = func() table {
	var columns, values strings.Builder
	for i := 1; i < 1600; i++ {
		fmt.Fprintf(&columns, ", c%d int", i)
		fmt.Fprintf(&values, ", n + %d", i)
	}
	some := "concat_ws('|', id, c1, c800, c1599)"
	return table{name: "wide", ddl: "CREATE TABLE wide (id int PRIMARY KEY" + columns.String() + ")", fill: "n" + values.String(), source: some, duck: some}
}()

// workload is changes in the log of one table.
type workload struct {
	name    string
	table   *table
	rows    int // there before
	changes int
	write   string
	// plugins says that the workload is also run through plugins.
	plugins bool
	// targets of log apply.
	duckdb, subscription float64
}

// workloads lists what is read from the log.
func workloads(o *options) []*workload {
	n := o.sized(400_000)
	txs := n / 10
	return []*workload{
		{name: "inserts", table: &accounts, changes: n, write: inserts(&accounts, n), plugins: true, duckdb: 0.7, subscription: 1.15},
		{name: "mixed", table: &accounts, rows: n/2 + 2*txs, changes: txs * 10, write: mixed(n/2, txs), plugins: true, duckdb: 0.7, subscription: 1},
		{name: "updates", table: &accounts, rows: n, changes: n, write: "UPDATE accounts SET bid = bid + 1", duckdb: 0.7, subscription: 1},
		{name: "hot", table: &accounts, rows: 10_000, changes: n * 5 / 2, write: hot(n * 5 / 2), duckdb: 0.7, subscription: 3},
		{name: "orders", table: &orders, changes: n / 2, write: inserts(&orders, n/2), plugins: true, duckdb: 0.7, subscription: 1.15},
	}
}

// insertRows is one transaction of rows from..to.
func insertRows(t *table, from, to int) string {
	return fmt.Sprintf("INSERT INTO %s SELECT %s FROM generate_series(%d, %d) n", t.name, t.fill, from, to)
}

// inserts writes n rows in four transactions.
func inserts(t *table, n int) string {
	var out []string
	for i := range 4 {
		out = append(out, insertRows(t, i*n/4+1, (i+1)*n/4))
	}
	return strings.Join(out, ";\n")
}

// mixed writes transactions of four inserts, four updates and two deletes, as
// one row each. Rows 1..rows are updated, the 2*txs behind them deleted.
func mixed(rows, txs int) string {
	return fmt.Sprintf(`DO $$
DECLARE a int;
BEGIN
	FOR i IN 0..%[2]d - 1 LOOP
		a := %[1]d + 2 * %[2]d + 4 * i;
		INSERT INTO accounts SELECT n, i, rpad(md5(n::text), 84, 'x') FROM generate_series(a + 1, a + 4) n;
		UPDATE accounts SET bid = bid + 1 WHERE aid = ANY (ARRAY[
			(i::bigint * 4 * 7919) %% %[1]d + 1, (i::bigint * 4 * 7919 + 7919) %% %[1]d + 1, (i::bigint * 4 * 7919 + 15838) %% %[1]d + 1, (i::bigint * 4 * 7919 + 23757) %% %[1]d + 1]::int[]);
		DELETE FROM accounts WHERE aid IN (%[1]d + 2 * i + 1, %[1]d + 2 * i + 2);
		COMMIT;
	END LOOP;
END $$`, rows, txs)
}

// hot updates the rows 1..10000 in transactions of 100, over and over.
func hot(changes int) string {
	return fmt.Sprintf(`DO $$
BEGIN
	FOR i IN 0..%d - 1 LOOP
		UPDATE accounts SET bid = bid + 1 WHERE aid BETWEEN (i %% 100) * 100 + 1 AND (i %% 100) * 100 + 100;
		COMMIT;
	END LOOP;
END $$`, changes/100)
}
