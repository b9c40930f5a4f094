package kernel

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine/batch"
)

func TestExpressions(t *testing.T) {
	formats := []struct{ name, format, cells string }{
		{"n", "l", `1|~|?|9223372036854775807|-5`},
		{"amount", "d:10,2", `10.50|20.25|1|~|0`},
		{"status", "u", `paid|open|paid|~|draft`},
		{"vip", "b", `t|f|t|f|~`},
		{"at", "tsu:UTC", `2024-01-01 00:00:00+00|infinity|2023-06-01 10:00:00+00|2024-05-05 00:00:00+00|~`},
	}
	var inputs []Input
	var in []Column
	for _, f := range formats {
		typ, err := batch.ParseFormat(f.format)
		if err != nil {
			t.Fatal(err)
		}
		inputs, in = append(inputs, Input{Name: f.name, Type: typ}), append(in, column(t, f.format, strings.Split(f.cells, "|")))
	}
	for _, c := range []struct{ source, as, uses, want string }{
		{`n > 0`, "b", "n", `t|~|?|t|f`},
		{`amount > 10 and status == "paid"`, "b", "amount status", `t|f|f|~|f`},
		{`status != "paid"`, "b", "status", `f|t|f|~|t`},
		{`status == nil or status in ["open", "draft"]`, "b", "status", `f|t|f|t|t`},
		{`status ?? "none"`, "u", "status", `paid|open|paid|none|draft`},
		{`vip ? "gold" : upper(status)`, "u", "status vip", `gold|OPEN|gold|~|~`},
		{`n + 1`, "l", "n", `2|~|?|!larger than 64 bits|-4`},
		{`n * 2 - 1`, "l", "n", `1|~|?|!larger than 64 bits|-11`},
		{`5 % (n + 5)`, "l", "n", `5|~|?|!larger than 64 bits|!cannot be computed`},
		{`amount * 2`, "g", "amount", `21|40.5|2|~|0`},
		{`at >= date("2024-01-01")`, "b", "at", `t|t|f|t|~`},
		{`at`, "tsu:UTC", "at", `2024-01-01 00:00:00+00|infinity|2023-06-01 10:00:00+00|2024-05-05 00:00:00+00|~`},
		{`"no. " + string(n ?? 0)`, "u", "n", `no. 1|no. 0|?|no. 9223372036854775807|no. -5`},
		{`status matches "^p.*d$"`, "b", "status", `t|f|t|~|f`},
		{`status contains "a" and not (status startsWith "d")`, "b", "status", `t|f|t|~|f`},
		{`true`, "b", "", `t|t|t|t|t`},
		{`n / 0`, "l", "n", `!does not fit|~|?|!does not fit|!does not fit`},
		{`vip ?? n`, "b", "n vip", `t|f|?|f|~`},
	} {
		parameters, err := json.Marshal(map[string]string{"source": c.source, "as": c.as})
		if err != nil {
			t.Fatal(err)
		}
		k, err := Bind("expression", inputs, parameters, nil)
		if err != nil {
			t.Errorf("%s: %v", c.source, err)
			continue
		}
		var uses []string
		for _, i := range k.Uses {
			uses = append(uses, inputs[i].Name)
		}
		if strings.Join(uses, " ") != c.uses {
			t.Errorf("%s uses %v, want %s", c.source, uses, c.uses)
		}
		got := texts(t, k, in, 5)
		for i, want := range strings.Split(c.want, "|") {
			if reason, fails := strings.CutPrefix(want, failedCell); fails && strings.HasPrefix(got[i], failedCell) && strings.Contains(got[i], reason) {
				continue
			}
			if got[i] != want {
				t.Errorf("%s: row %d is %q, want %q", c.source, i, got[i], want)
			}
		}
	}
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{`c == "x"`, `len(c) > 1 ? c : nil`, `c ?? ""`, `c in ["a"]`, `int(c) + 1`, `date(c)`} {
		f.Add(s, "value")
	}
	f.Fuzz(func(t *testing.T, source, value string) {
		parameters, err := json.Marshal(map[string]string{"source": source, "as": "u"})
		if err != nil {
			t.Fatal(err) // any text has a JSON form
		}
		typ, _ := batch.ParseFormat("u")
		k, err := Bind("expression", []Input{{Name: "c", Type: typ}}, parameters, nil)
		if err != nil {
			return
		}
		texts(t, k, []Column{column(t, "u", []string{strings.ToValidUTF8(value, ""), nullCell, absentCell})}, 3)
	})
}
