package kernel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// Cells of a test beside values.
const (
	nullCell   = "~"
	absentCell = "?"
	failedCell = "!" // in results, before the reason
)

// column makes a column of a format from texts.
func column(t *testing.T, format string, cells []string) Column {
	t.Helper()
	b := batch.NewBuilder(&batch.Schema{Columns: []batch.Column{{Name: "c", Type: arrow.BinaryTypes.String}}})
	for _, c := range cells {
		switch c {
		case nullCell:
			b.Column(0).AppendNull()
		case absentCell:
			b.Column(0).AppendAbsent()
		default:
			b.Column(0).AppendBytes([]byte(c))
		}
		b.EndRow(batch.Read, 0, 0, 0)
	}
	made := b.Finish(batch.Position{})
	text := Column{made.Rows.Column(0), made.Present[0]}
	if format == "u" {
		return text
	}
	k, err := Bind("cast", []Input{{Name: "c", Type: arrow.BinaryTypes.String}}, json.RawMessage(`{"to": "`+format+`"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	out, failed, err := k.Run([]Column{text}, len(cells), Bounds{Bytes: batch.MaxColumnBytes})
	if err != nil || len(failed) > 0 {
		t.Fatalf("cells of format %s: %v %v", format, err, failed)
	}
	return out
}

// run computes a kernel of one input.
func run(t *testing.T, name, parameters, format, pg string, cells []string) (*Kernel, []string) {
	t.Helper()
	typ, err := batch.ParseFormat(format)
	if err != nil {
		t.Fatal(err)
	}
	k, err := Bind(name, []Input{{Name: "c", Type: typ, PG: batch.PGType{Name: pg}}}, json.RawMessage(parameters), Settings{"key": json.RawMessage(`"` + strings.Repeat("0123456789abcdef", 8) + `"`)})
	if err != nil {
		t.Fatalf("%s %s: %v", name, parameters, err)
	}
	return k, texts(t, k, []Column{column(t, format, cells)}, len(cells))
}

// texts runs a kernel and prints its result.
func texts(t *testing.T, k *Kernel, in []Column, rows int) []string {
	t.Helper()
	out, failed, err := k.Run(in, rows, Bounds{Bytes: batch.MaxColumnBytes})
	if err != nil {
		t.Fatal(err)
	}
	if !arrow.TypeEqual(out.Array.DataType(), k.Output) || out.Array.Len() != rows {
		t.Fatalf("%s: %d cells of %s, announced are %d of %s", k.Name, out.Array.Len(), out.Array.DataType(), rows, k.Output)
	}
	text, err := batch.TextOf(out.Array)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]string, rows)
	for row := range got {
		present := out.Present == nil || out.Present.Get(row)
		switch reason, bad := failed[row]; {
		case bad && (present || out.Array.IsValid(row)):
			got[row] = "a failed row has a cell"
		case bad:
			got[row] = failedCell + reason
		case !present && out.Array.IsValid(row):
			got[row] = "absent but valid"
		case !present:
			got[row] = absentCell
		case out.Array.IsNull(row):
			got[row] = nullCell
		default:
			got[row] = string(text(nil, row))
		}
	}
	return got
}

// TestKernels gives every kernel values, null and an absent cell.
func TestKernels(t *testing.T) {
	for _, c := range []struct{ name, parameters, format, pg, cells, want string }{
		{"case", `{"to": "upper"}`, "u", "text", `abc|Straße|~|?|ß|`, `ABC|STRASSE|~|?|SS|`},
		{"case", `{}`, "u", "text", `ABC-é|ÀÉ|~`, `abc-é|àé|~`},
		{"case", `{"to": "title"}`, "u", "text", `ada LOVELACE|~`, `Ada Lovelace|~`},
		{"case", `{"to": "upper", "language": "tr"}`, "u", "text", `iı`, `İI`},
		{"trim", `{}`, "u", "text", "  a b\t|~|?", `a b|~|?`},
		{"trim", `{"characters": "x*", "side": "left"}`, "u", "text", `*xax*|xx`, `ax*|`},
		{"trim", `{"side": "right"}`, "u", "text", ` a `, ` a`},
		{"substring", `{"from": 2, "length": 3}`, "u", "text", `éüöäß|ab|a||~`, `üöä|b|||~`},
		{"substring", `{"from": 3}`, "u", "text", `abcd|ab`, `cd|`},
		{"replace", `{"find": "aa", "with": "b"}`, "u", "text", `aaaa|aaa|x||~|?`, `bb|ba|x||~|?`},
		{"split", `{"separator": "-", "part": 2}`, "u", "text", `a-b-c|a|-|~|?`, `b|~||~|?`},
		{"split", `{"separator": "-", "part": -1}`, "u", "text", `a-b-c|a|`, `c|a|`},
		{"split", `{"separator": "-", "part": -3}`, "u", "text", `a-b-c|a-b`, `a|~`},
		{"split", `{"separator": "-", "part": 2, "rest": true}`, "u", "text", `a-b-c|a`, `b-c|~`},
		{"regex", `{"pattern": "^\\d+$"}`, "u", "text", `12|a1|~|?`, `t|f|~|?`},
		{"regex", `{"pattern": "(\\w+)@(\\w+)", "action": "replace", "with": "$2 at ${1}"}`, "u", "text", `x ada@home y|none|~|?`, `x home at ada y|none|~|?`},
		{"regex", `{"pattern": "a*", "action": "replace", "with": "-"}`, "u", "text", `baac`, `-b-c-`},
		{"regex", `{"pattern": "(\\d+)(px)?", "action": "extract", "group": 1}`, "u", "text", `w 12px|none|~|?`, `12|~|~|?`},
		{"regex", `{"pattern": "(\\d+)(px)?", "action": "extract", "group": 2}`, "u", "text", `12`, `~`},
		{"json-path", `{"path": "$.a.b[1]"}`, "u", "jsonb", `{"a":{"b":[1,12345678901234567890.10]}}|{"a":{"b":{"1":2}}}|{"a":[1]}|[1]|~|?|{"a"|{"a":{"b":[1,null]}}`, `12345678901234567890.10|~|~|~|~|?|!the value is not JSON|~`},
		{"json-path", `{"path": "$[\"a.b\"]"}`, "u", "json", `{"a.b":"x\u00e9\"y"}|{"a":{"b":1}}`, `xé"y|~`},
		{"json-path", `{"path": "$.a", "as": "json"}`, "u", "json", `{"a":"x"}|{"a":null}|{}`, `"x"|null|~`},
		{"json-path", `{"path": "$[0]"}`, "u", "json", `[true]|[]|{"0":1}`, `true|~|~`},
		{"cast", `{"to": "i"}`, "u", "text", `12| -3 |5.00|5.5|x|2147483648|~|?|`, `12|-3|5|!no whole|!no whole|!out of range|~|?|!no whole`},
		{"cast", `{"to": "l", "empty": "null"}`, "u", "text", `|7`, `~|7`},
		{"cast", `{"to": "s"}`, "l", "int8", `32767|32768`, `32767|!out of range`},
		{"cast", `{"to": "d:6,2"}`, "u", "text", `1.5|-0.01|1234.56|12345.6|1.234|1e3|NaN|1.2.3|-|~`, `1.50|-0.01|1234.56|!too many digits before|!more than 2 digits|1000.00|NaN|!no number|!no number|~`},
		{"cast", `{"to": "d:60,3,256"}`, "u", "text", `123456789012345678901234567890123456789012345.125|-1`, `123456789012345678901234567890123456789012345.125|-1.000`},
		{"cast", `{"to": "g"}`, "u", "text", `1.5|1e400|0x1p3|-Infinity`, `1.5|!out of range|!no number|-Infinity`},
		{"cast", `{"to": "f"}`, "u", "text", `1.5`, `1.5`},
		{"cast", `{"to": "b"}`, "u", "text", `Yes|off|2|~`, `t|f|!neither true|~`},
		{"cast", `{"to": "tdD"}`, "u", "text", `2024-02-29|2023-02-29|2024-01-01 00:00:00|2024-01-01 10:00|-infinity`, `2024-02-29|!layout|2024-01-01|!time of day|-infinity`},
		{"cast", `{"to": "tdD", "layout": "DD.MM.YYYY"}`, "u", "text", `31.12.1999|1999-12-31`, `1999-12-31|!layout`},
		{"cast", `{"to": "tsu:UTC"}`, "u", "text", `2024-01-01T12:00:00+02:00|2024-01-01 12:00:00.123456+00|infinity`, `2024-01-01 10:00:00+00|2024-01-01 12:00:00.123456+00|infinity`},
		{"cast", `{"to": "tsu:", "layout": "Dy, DD Mon YYYY HH12:MI:SS AM"}`, "u", "text", `Mon, 01 Jan 2024 01:02:03 PM`, `2024-01-01 13:02:03`},
		{"cast", `{"to": "tsu:UTC", "layout": "epoch"}`, "u", "text", `0|1.5|-1|1.0000001|x`, `1970-01-01 00:00:00+00|1970-01-01 00:00:01.5+00|1969-12-31 23:59:59+00|!microsecond|!no number`},
		{"cast", `{"to": "tsu:", "layout": "epoch_ms"}`, "u", "text", `1500`, `1970-01-01 00:00:01.5`},
		{"cast", `{"to": "u", "layout": "DD/MM/YY HH24:MI:SS.MS"}`, "tsu:", "timestamp", `2024-01-02 03:04:05.678|infinity|~|?`, `02/01/24 03:04:05.678|infinity|~|?`},
		{"cast", `{"to": "u"}`, "d:5,2", "numeric", `1.5|NaN|~|?`, `1.50|NaN|~|?`},
		{"cast", `{"to": "u"}`, "b", "bool", `t|f`, `t|f`},
		{"round", `{"digits": 1}`, "d:6,3", "numeric", `1.25|-1.25|1.249|999.95|NaN|~|?`, `1.3|-1.3|1.2|1000.0|NaN|~|?`},
		{"round", `{"digits": 0}`, "u", "numeric", `12345678901234567890123.5|-0.4|0.5|1e-3|x`, `12345678901234567890124|0|1|0|!no number`},
		{"round", `{"digits": 2}`, "g", "float8", `2.345|1e20|-0.005|NaN`, `2.35|1e+20|-0.01|NaN`},
		{"round", `{"digits": 5}`, "d:6,3", "numeric", `1.250`, `1.250`},
		{"time", `{"truncate": "month"}`, "tsu:", "timestamp", `2024-02-29 13:14:15|infinity|1969-12-31 23:00:00|~|?`, `2024-02-01 00:00:00|infinity|1969-12-01 00:00:00|~|?`},
		{"time", `{"truncate": "week"}`, "tdD", "date", `2024-03-03|2024-03-04`, `2024-02-26|2024-03-04`},
		{"time", `{"truncate": "quarter"}`, "tdD", "date", `2024-06-30`, `2024-04-01`},
		{"time", `{"months": 1}`, "tdD", "date", `2024-01-31|2023-01-31|-infinity`, `2024-02-29|2023-02-28|-infinity`},
		{"time", `{"days": -1, "shift": "90m"}`, "tsu:", "timestamp", `2024-03-01 00:00:00`, `2024-02-29 01:30:00`},
		{"time", `{"shift": "1h"}`, "tdD", "date", `2024-03-01`, `!time of day`},
		{"time", `{"zone": "Europe/Berlin"}`, "tsu:UTC", "timestamptz", `2024-01-01 12:00:00+00|2024-07-01 12:00:00+00`, `2024-01-01 13:00:00|2024-07-01 14:00:00`},
		{"range-json", `{}`, "u", "int4range", `[1,10)|empty|(,5]|~|?|[1,2|[1,2)x`, `{"lower":1,"upper":10,"bounds":"[)"}|{"empty":true}|{"lower":null,"upper":5,"bounds":"(]"}|~|?|!no range|!no range`},
		{"range-json", `{}`, "u", "tsrange", `["2024-01-01 00:00:00",infinity)`, `{"lower":"2024-01-01 00:00:00","upper":"infinity","bounds":"[)"}`},
		{"range-json", `{}`, "u", "textrange", `["a,""b",c\)]`, `{"lower":"a,\"b","upper":"c)","bounds":"[]"}`},
		{"range-json", `{}`, "u", "int4multirange", `{[1,3),[5,7)}|{}`, `[{"lower":1,"upper":3,"bounds":"[)"},{"lower":5,"upper":7,"bounds":"[)"}]|[]`},
		{"interval-iso", `{}`, "u", "interval", `1 year 2 mons 3 days 04:05:06.78|00:00:00|-1 years +2 days -00:00:00.5|1 mon|x|~|?`, `P1Y2M3DT4H5M6.78S|PT0S|P-1Y2DT-0.5S|P1M|!no interval|~|?`},
		{"geojson", `{}`, "u", "point", `(1.5,-2)|(NaN,1)|~`, `{"type":"Point","coordinates":[1.5,-2]}|!NaN|~`},
		{"geojson", `{}`, "u", "box", `(3,4),(1,2)`, `{"type":"Polygon","coordinates":[[[1,2],[3,2],[3,4],[1,4],[1,2]]]}`},
		{"geojson", `{}`, "u", "polygon", `((0,0),(1,0),(1,1))`, `{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]}`},
		{"geojson", `{}`, "u", "path", `[(0,0),(1,0)]|((0,0),(1,0))`, `{"type":"LineString","coordinates":[[0,0],[1,0]]}|{"type":"LineString","coordinates":[[0,0],[1,0],[0,0]]}`},
		{"hash", `{"algorithm": "md5"}`, "l", "int8", `42|~|?`, `a1d0c6e83f027327d8461063f4ac58a6|~|?`},
	} {
		_, got := run(t, c.name, c.parameters, c.format, c.pg, strings.Split(c.cells, "|"))
		want := strings.Split(c.want, "|")
		if len(got) != len(want) {
			t.Errorf("%s %s: %d cells for %d", c.name, c.parameters, len(got), len(want))
			continue
		}
		for i := range want {
			if reason, fails := strings.CutPrefix(want[i], failedCell); fails {
				if !strings.HasPrefix(got[i], failedCell) || !strings.Contains(got[i], reason) {
					t.Errorf("%s %s: cell %d is %q, wanted a failure for %q", c.name, c.parameters, i, got[i], reason)
				}
			} else if got[i] != want[i] {
				t.Errorf("%s %s: cell %d is %q, want %q", c.name, c.parameters, i, got[i], want[i])
			}
		}
	}
}

func TestEncryptedValuesComeBack(t *testing.T) {
	cells := []string{"ann@example.org", "", "~", "?", "ann@example.org", "ünïcode"}
	for _, encoding := range []string{"base64", "hex"} {
		p := `{"key": {"setting": "key"}, "encoding": "` + encoding + `", "context": "email", "action": "`
		_, sealed := run(t, "aes-siv", p+`encrypt"}`, "u", "text", cells)
		if sealed[0] == cells[0] || sealed[0] != sealed[4] || sealed[0] == sealed[5] || sealed[2] != nullCell || sealed[3] != absentCell {
			t.Errorf("encrypted are %v", sealed)
		}
		_, clear := run(t, "aes-siv", p+`decrypt"}`, "u", "text", sealed)
		if strings.Join(clear, "|") != strings.Join(cells, "|") {
			t.Errorf("decrypted are %v, want %v", clear, cells)
		}
		_, other := run(t, "aes-siv", strings.Replace(p, "email", "phone", 1)+`decrypt"}`, "u", "text", append(sealed[:1:1], "no code"))
		if !strings.HasPrefix(other[0], failedCell+"the value was not encrypted with this key") || !strings.HasPrefix(other[1], failedCell+"the value is not "+encoding) {
			t.Errorf("of another context: %v", other)
		}
	}
}

func TestKernelsRefuse(t *testing.T) {
	text := []Input{{Name: "c", Type: arrow.BinaryTypes.String, PG: batch.PGType{Name: "text"}}}
	settings := Settings{"short": json.RawMessage(`"pepper-short"`), "number": json.RawMessage(`1`)}
	for _, c := range []struct {
		name, parameters string
		inputs           []Input
		want             string
	}{
		{"aes-siv", `{"key": {"setting": "short"}}`, text, "is not 64 bytes in base64"},
		{"aes-siv", `{"key": {"setting": "nothing"}}`, text, `give the plugin's setting "nothing"`},
		{"aes-siv", `{"key": {"setting": "number"}}`, text, `the setting "number" is not a text`},
		{"aes-siv", `{"key": {"sitting": "short"}}`, text, `a secret is a text or`},
		{"case", `{"to": "camel"}`, text, `"camel" is not lower`},
		{"case", `{"language": "!!"}`, text, `is not a language`},
		{"trim", `{"side": "top"}`, text, `"top" is not`},
		{"substring", `{"from": 0}`, text, `counts from 1`},
		{"replace", `{}`, text, `find is empty`},
		{"split", `{"separator": "-", "part": 0}`, text, `part is 0`},
		{"regex", `{"pattern": "("}`, text, `missing closing )`},
		{"regex", `{"pattern": "` + strings.Repeat("a", 1001) + `"}`, text, `has 1001 bytes`},
		{"regex", `{"pattern": "a", "action": "extract", "group": 1}`, text, `has 0 groups, not 1`},
		{"json-path", `{"path": "a"}`, text, `does not begin with $`},
		{"json-path", `{"path": "$.a[*]"}`, text, `neither a number nor a name`},
		{"json-path", `{"path": "$..a"}`, text, `steps are`},
		{"json-path", `{"path": "$` + strings.Repeat(".a", 65) + `"}`, text, `more than 64 steps`},
		{"cast", `{"to": "x"}`, text, `format "x"`},
		{"cast", `{"to": "z"}`, text, `nothing is converted to binary`},
		{"cast", `{"to": "i", "layout": "YYYY"}`, text, `layout: it is for text that becomes a time`},
		{"cast", `{"to": "tdD", "layout": "YYYY-mm"}`, text, `it knows YYYY`},
		{"cast", `{"to": "u", "layout": "YYYY"}`, text, `it is for dates and timestamps`},
		{"round", `{"digits": -1}`, text, `-1 is not from 0`},
		{"round", `{"digits": 1}`, []Input{{Name: "c", Type: arrow.PrimitiveTypes.Int32}}, `nothing to round`},
		{"time", `{"truncate": "eon"}`, []Input{{Name: "c", Type: arrow.PrimitiveTypes.Date32}}, `"eon" is not year`},
		{"time", `{"zone": "Berlin"}`, []Input{{Name: "c", Type: arrow.FixedWidthTypes.Timestamp_us}}, `not the name of a time zone`},
		{"time", `{"zone": "UTC"}`, []Input{{Name: "c", Type: arrow.PrimitiveTypes.Date32}}, `no timestamp with time zone`},
		{"time", `{}`, text, `it works on dates and timestamps`},
		{"geojson", `{}`, text, `GeoJSON has no form for text`},
		{"mask", `{"method": "redact"}`, []Input{{Name: "c", Type: arrow.BinaryTypes.Binary}}, `is binary`},
		{"expression", `{"source": "x > 1", "as": "b"}`, text, `there is no column "x"`},
		{"expression", `{"source": "c > 1", "as": "b"}`, text, `source: invalid operation: >`},
		{"expression", `{"source": "c +", "as": "u"}`, text, `source: unexpected token EOF`},
		{"expression", `{"source": "len(c)", "as": "b"}`, text, `expected bool`},
		{"expression", `{"source": "map(1..1000000000, # * 2)", "as": "u"}`, text, `an expression has no`},
		{"expression", `{"source": "now()", "as": "u"}`, text, `now`},
		{"expression", `{"source": "\"a\" matches c", "as": "b"}`, text, `behind matches stands a text in quotes`},
		{"expression", `{"source": "$env.c == \"\"", "as": "b"}`, text, `no members`},
		{"expression", `{"source": "let x = c; x", "as": "u"}`, text, `no loops, declarations`},
		{"expression", `{"source": "repeat(c, 1000000)", "as": "u"}`, text, `repeat`},
		{"expression", `{"source": "` + strings.Repeat("c+", 600) + `c", "as": "u"}`, text, `more than 1000 parts`},
		{"expression", `{"source": "c", "as": "z"}`, text, `does not give binary`},
		{"expression", `{"source": "", "as": "u"}`, text, `0 bytes`},
		{"expression", `{"source": "c > 1", "as": "b"}`, []Input{{Name: "c", Type: &arrow.Decimal128Type{Precision: 20}}}, `expressions compute with 15`},
	} {
		_, err := Bind(c.name, c.inputs, json.RawMessage(c.parameters), settings)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "kernel "+c.name+": ") || strings.Contains(err.Error(), "pepper") {
			t.Errorf("%s %s: %v, want %q", c.name, c.parameters, err, c.want)
		}
	}
}

// What one value becomes is bounded while it grows, not afterwards.
func TestResultsAreBoundedWhileTheyGrow(t *testing.T) {
	const limit = 1 << 20
	long := strings.Repeat("s", 20_000)
	for name, parameters := range map[string]string{
		"replace":                  fmt.Sprintf(`{"find": "a", "with": %q}`, long),
		"regex":                    fmt.Sprintf(`{"pattern": "a", "action": "replace", "with": %q}`, long),
		"regex of the whole value": fmt.Sprintf(`{"pattern": "a*", "action": "replace", "with": %q}`, strings.Repeat("${0}", 4000)),
		"regex with many groups":   fmt.Sprintf(`{"pattern": %q, "action": "replace"}`, strings.Repeat("()", 400)+"a"),
	} {
		kind, _, _ := strings.Cut(name, " ")
		k, err := Bind(kind, []Input{{Name: "c", Type: arrow.BinaryTypes.String}}, json.RawMessage(parameters), nil)
		if err != nil {
			t.Fatal(err)
		}
		b := batch.NewBuilder(&batch.Schema{Columns: []batch.Column{{Name: "c", Type: arrow.BinaryTypes.String}}})
		b.Column(0).AppendBytes(bytes.Repeat([]byte("a"), 20_000))
		b.EndRow(batch.Insert, 1, 1, 1)
		in := b.Finish(batch.Position{})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err = k.Run([]Column{{Array: in.Rows.Column(0)}}, 1, Bounds{Bytes: limit})
		runtime.ReadMemStats(&after)
		in.Release()
		if took := after.TotalAlloc - before.TotalAlloc; err != ErrTooLarge || took > 16*limit {
			t.Errorf("%s: %v after %d bytes, want ErrTooLarge within %d", name, err, took, 16*limit)
		}
	}
}

// TestKernelsEndInTime: those that make text and those that make anything else
// go through one loop each.
func TestKernelsEndInTime(t *testing.T) {
	for name, parameters := range map[string]string{"case": `{}`, "regex": `{"pattern": "a"}`, "expression": `{"source": "c + c", "as": "u"}`} {
		k, err := Bind(name, []Input{{Name: "c", Type: arrow.BinaryTypes.String}}, json.RawMessage(parameters), nil)
		if err != nil {
			t.Fatal(err)
		}
		in := column(t, "u", []string{"a"})
		if _, _, err := k.Run([]Column{in}, 1, Bounds{Bytes: 1 << 20, Until: time.Now()}); err != ErrTooLong {
			t.Errorf("%s: %v, want ErrTooLong", name, err)
		}
		if _, _, err := k.Run([]Column{in}, 1, Bounds{Bytes: 1 << 20, Until: time.Now().Add(time.Hour)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOneRowEndsInTime: no row may hold the engine much beyond the end of a run,
// whatever its pattern makes of it.
func TestOneRowEndsInTime(t *testing.T) {
	for _, c := range []struct{ name, parameters, text string }{
		{"regex", `{"pattern": "x(?:.*y)?", "action": "replace", "with": "z"}`, strings.Repeat("x", 50_000)},
		{"regex", `{"pattern": "(x)(?:.*y)?", "action": "replace", "with": "$1"}`, strings.Repeat("x", 50_000)},
		{"regex", `{"pattern": "(?:a?){900}b"}`, strings.Repeat("a", 1_000_000)},
		{"regex", `{"pattern": "(?:a?){900}b", "action": "extract"}`, strings.Repeat("a", 1_000_000)},
		{"expression", `{"source": "c matches '(?:a?){900}b'", "as": "b"}`, strings.Repeat("a", 1_000_000)},
		{"expression", `{"source": "c` + strings.Repeat("+c", 200) + ` matches '(?:a?){900}b'", "as": "b"}`, strings.Repeat("a", 10_000)},
		{"trim", `{"characters": "` + strings.Repeat("é", 10_000) + `è"}`, strings.Repeat("è", 1_000_000)},
	} {
		k, err := Bind(c.name, []Input{{Name: "c", Type: arrow.BinaryTypes.String}}, json.RawMessage(c.parameters), nil)
		if err != nil {
			t.Fatal(err)
		}
		in := column(t, "u", []string{c.text})
		began := time.Now()
		_, _, err = k.Run([]Column{in}, 1, Bounds{Bytes: 1 << 30, Until: began.Add(200 * time.Millisecond)})
		if took := time.Since(began); took > 2*time.Second || err != nil && err != ErrTooLong || err == nil && c.name != "trim" {
			t.Errorf("%s %.60s: %v after %s", c.name, c.parameters, err, took)
		}
		small := column(t, "u", []string{c.text[:100]})
		if _, failed, err := k.Run([]Column{small}, 1, Bounds{Bytes: 1 << 30, Until: time.Now().Add(30 * time.Second)}); err != nil || len(failed) > 0 {
			t.Errorf("%s %.60s: a short text: %v, %v", c.name, c.parameters, failed, err)
		}
	}
}
