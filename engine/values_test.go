package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestValuePolicies passes values that not every destination can hold through
// a load and the log, each policy on some column, and holds what arrives
// against what the plan has declared.
func TestValuePolicies(t *testing.T) {
	server := pgserver.Test(t, pgserver.Options{})
	database := server.Database(t)
	exec := func(sql ...string) {
		t.Helper()
		if err := server.Exec(t.Context(), database, sql...); err != nil {
			t.Fatal(err)
		}
	}
	const wide = "'1" + "00000000000000000000000000000000000000000000000000" + ".25'" // 51 digits before the point
	exec(`CREATE TABLE v (id int PRIMARY KEY, a timestamptz, b timestamp, c date, k date, d float8, n numeric(60,2), u numeric, w numeric(60,2))`,
		`INSERT INTO v VALUES (1, 'infinity', '-infinity', 'infinity', '2000-01-01', 'NaN', `+wide+`, `+wide+`, 'NaN'),
			(2, '0044-03-15 BC', '0044-03-15 12:00 BC', '0044-03-15 BC', '2000-01-02', 1.5, '-1.25', '-0.5', 1.25),
			(3, now(), now(), 'today', 'infinity', 0, 0, 0, 0)`)
	p := pipelineOf(t, server, database, `[values]`, `infinity = "null"`, `bc = "clamp"`, `nan = "text"`, `wide_numeric = "clamp"`,
		`[[values.columns]]`, `columns = ["c"]`, `infinity = "text"`, `bc = "keep"`, `[[values.columns]]`, `columns = ["k"]`, `infinity = "fail"`,
		`[[values.columns]]`, `columns = ["n", "w"]`, `nan = "null"`, `[[values.columns]]`, `tables = ["other.*"]`, `columns = ["a"]`, `infinity = "fail"`)
	plan, err := p.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	losses := map[string]string{}
	for _, c := range plan[0].Targets[0].Columns {
		losses[c.Name] = c.Type + ": " + strings.Join(c.Losses, "; ")
	}
	for column, want := range map[string]string{"a": "infinity becomes NULL", "b": "before the year 1 becomes the first moment", "c": "VARCHAR: infinity makes the column text",
		"k": "DATE: infinity makes a row a failed event", "d": "VARCHAR: NaN or infinity makes the column text", "n": "DECIMAL(38,2): NaN becomes NULL; a number of more than 38 digits becomes the largest",
		"u": "VARCHAR: a number of more than 38 digits"} {
		if !strings.Contains(losses[column], want) {
			t.Errorf("the plan declares %q for %s, want %q", losses[column], column, want)
		}
	}
	catchUp := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Run(ctx, engine.RunOptions{UntilCaughtUp: true}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(failed int64, rows ...string) {
		t.Helper()
		if n, err := p.FailedCount(); err != nil || n != failed {
			t.Errorf("%d failed events, %v; want %d", n, err, failed)
		}
		got := ""
		if err := p.Query(t.Context(), `SELECT string_agg(concat_ws(' ', id, coalesce((a AT TIME ZONE 'UTC')::text, '~'), coalesce(b::text, '~'), c, k, d, coalesce(n::text, '~'), u, coalesce(w::text, '~')), chr(10) ORDER BY id) FROM v`,
			func(r engine.Rows) error {
				got = *r.Rows[0][0]
				return nil
			}); err != nil || got != strings.Join(rows, "\n") {
			t.Errorf("the destination has\n%s\n%v; want\n%s", got, err, strings.Join(rows, "\n"))
		}
	}
	catchUp()
	nines := strings.Repeat("9", 36) + ".99"
	one := "1 ~ ~ infinity 2000-01-01 NaN " + nines + " " + strings.Repeat("9", 38) + " ~"
	two := "2 0001-01-01 00:00:00 0001-01-01 00:00:00 0044-03-15 BC 2000-01-02 1.5 -1.25 -0.5 1.25"
	expect(1, one, two)
	exec(`UPDATE v SET k = 'infinity' WHERE id = 1`, `UPDATE v SET n = -`+strings.Trim(wide, "'")+` WHERE id = 2`)
	catchUp()
	expect(2, one, strings.Replace(two, "-1.25", "-"+nines, 1))
	exec(`TRUNCATE v`, `INSERT INTO v VALUES (4, '-infinity', '2000-01-01', '2000-01-01', '2000-01-01', '-Infinity', 1, 1, 1)`)
	catchUp()
	if v, err := p.Verify(t.Context(), nil, nil); err != nil || !v.Equal() {
		t.Errorf("verify: %+v, %v", v, err)
	}
}
