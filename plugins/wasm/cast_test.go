package wasm

import (
	"math"
	"math/big"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal256"

	"github.com/leat-etl/leat/engine/batch"
)

func format(t *testing.T, s string) arrow.DataType {
	t.Helper()
	typ, err := batch.ParseFormat(s)
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

// column makes a column of one value and a null.
func column(t *testing.T, typ arrow.DataType, v any) arrow.Array {
	t.Helper()
	b := batch.NewBuilder(&batch.Schema{Columns: []batch.Column{{Name: "c", Type: typ}}})
	c := b.Column(0)
	switch v := v.(type) {
	case bool:
		c.AppendBool(v)
	case int:
		switch c.Width() {
		case 2:
			c.AppendUint16(uint16(v))
		case 4:
			c.AppendUint32(uint32(v))
		default:
			c.AppendUint64(uint64(v))
		}
	case float32:
		c.AppendUint32(math.Float32bits(v))
	case float64:
		c.AppendUint64(math.Float64bits(v))
	case string:
		c.AppendBytes([]byte(v))
	case []byte:
		c.AppendFixed(v)
	case *big.Int:
		words := decimal256.FromBigInt(v).Array()
		c.AppendFixed(arrow.Uint64Traits.CastToBytes(words[:])[:c.Width()])
	}
	b.EndRow(batch.Insert, 1, 1, 1)
	c.AppendNull()
	b.EndRow(batch.Insert, 1, 2, 1)
	return b.Finish(batch.Position{}).Rows.Column(0)
}

func TestCastsPrintLikePostgreSQL(t *testing.T) {
	n := func(s string) *big.Int { v, _ := new(big.Int).SetString(s, 10); return v }
	for _, c := range []struct {
		from string
		v    any
		to   string
		want string
	}{
		{"s", -5, "i", "-5"}, {"s", 5, "l", "5"}, {"i", math.MinInt32, "l", "-2147483648"}, {"I", -1, "l", "4294967295"},
		{"i", -7, "d:12,2", "-7.00"}, {"l", math.MinInt64, "d:19,0", "-9223372036854775808"}, {"l", 1, "d:60,10,256", "1.0000000000"},
		{"d:5,2", n("-12345"), "d:38,5", "-123.45000"}, {"d:5,2", n("-12345"), "d:76,5,256", "-123.45000"}, {"d:50,2,256", n("-5"), "d:60,2,256", "-0.05"},
		{"s", 3, "g", "3"}, {"f", float32(1.5), "g", "1.5"}, {"i", 3, "g", "3"}, {"s", 3, "f", "3"},
		{"tdD", 0, "tsu:", "1970-01-01 00:00:00"}, {"tdD", batch.PosInfinityDate, "tsu:", "infinity"}, {"tdD", batch.NegInfinityDate, "tsu:", "-infinity"},
		{"b", true, "u", "t"}, {"b", false, "u", "f"}, {"l", math.MaxInt64, "u", "9223372036854775807"},
		{"g", 1e15, "u", "1e+15"}, {"g", 123456789012345.0, "u", "123456789012345"}, {"g", 0.0001, "u", "0.0001"}, {"g", 0.00001, "u", "1e-05"}, {"g", 0.1, "u", "0.1"},
		{"g", math.Inf(-1), "u", "-Infinity"}, {"g", math.NaN(), "u", "NaN"}, {"g", math.Copysign(0, -1), "u", "-0"}, {"f", float32(1e6), "u", "1e+06"}, {"f", float32(0.1), "u", "0.1"},
		{"d:5,2", n("-5"), "u", "-0.05"}, {"d:5,2", n("0"), "u", "0.00"}, {"d:5,0", n("12"), "u", "12"}, {"d:60,3,256", n("-1234567890123456789012345678901234567"), "u", "-1234567890123456789012345678901234.567"},
		{"tdD", -719162, "u", "0001-01-01"}, {"tdD", -719163, "u", "0001-12-31 BC"}, {"tdD", 19000, "u", "2022-01-08"}, {"tdD", batch.PosInfinityDate, "u", "infinity"}, {"tdD", 2932897, "u", "10000-01-01"},
		{"ttu", 86_399_999_999, "u", "23:59:59.999999"}, {"ttu", 86_400_000_000, "u", "24:00:00"}, {"ttu", 1_500_000, "u", "00:00:01.5"},
		{"tsu:", -1, "u", "1969-12-31 23:59:59.999999"}, {"tsu:UTC", 1_000_000, "u", "1970-01-01 00:00:01+00"}, {"tsu:", batch.NegInfinity, "u", "-infinity"},
		{"z", "\x00\xff", "u", `\x00ff`}, {"w:16", []byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"), "u", "00112233-4455-6677-8899-aabbccddeeff"},
	} {
		a, to := column(t, format(t, c.from), c.v), format(t, c.to)
		if err := castable(a.DataType(), to); err != nil {
			t.Errorf("%s to %s: %v", c.from, c.to, err)
			continue
		}
		out, err := cast(a, to)
		if err != nil {
			t.Errorf("%s to %s: %v", c.from, c.to, err)
			continue
		}
		got := ""
		if text, ok := out.(*array.String); ok {
			got = text.Value(0)
		} else {
			got = cellText(out, 0)
		}
		if got != c.want || !arrow.TypeEqual(out.DataType(), to) || !out.IsNull(1) {
			t.Errorf("%s %v to %s is %s of %s, want %s", c.from, c.v, c.to, got, out.DataType(), c.want)
		}
	}
}

func TestNaNSurvivesCasts(t *testing.T) {
	narrow := column(t, format(t, "d:5,2"), arrow.Uint64Traits.CastToBytes([]uint64{batch.NaN128.LowBits(), uint64(batch.NaN128.HighBits())}))
	for _, to := range []string{"d:10,4", "d:60,4,256", "u"} {
		out, err := cast(narrow, format(t, to))
		if err != nil {
			t.Fatal(err)
		}
		switch a := out.(type) {
		case *array.Decimal128:
			if a.Value(0) != batch.NaN128 {
				t.Errorf("NaN became %v", a.Value(0))
			}
		case *array.Decimal256:
			if a.Value(0) != batch.NaN256 {
				t.Errorf("NaN became %v", a.Value(0))
			}
		case *array.String:
			if a.Value(0) != "NaN" {
				t.Errorf("NaN became %s", a.Value(0))
			}
		}
	}
}

func TestCastsThatLoseAreRefused(t *testing.T) {
	for _, c := range [][2]string{
		{"l", "i"}, {"i", "s"}, {"l", "g"}, {"i", "f"}, {"g", "f"}, {"l", "d:18,0"}, {"i", "d:10,1"}, {"d:12,2", "d:12,3"}, {"d:12,2", "d:12,1"}, {"d:12,2", "g"},
		{"tsu:", "tdD"}, {"tdD", "tsu:UTC"}, {"tsu:", "tsu:UTC"}, {"u", "l"}, {"I", "i"}, {"b", "i"}, {"u", "z"},
	} {
		if castable(format(t, c[0]), format(t, c[1])) == nil {
			t.Errorf("%s to %s was accepted", c[0], c[1])
		}
	}
	if _, err := cast(column(t, format(t, "tdD"), 200_000_000), format(t, "tsu:")); err == nil {
		t.Error("a date beyond the timestamps was cast")
	}
}
