package kernel

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	_ "time/tzdata" // time zones are the same on every machine

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/engine/batch"
)

// tokens of a layout as PostgreSQL's to_char knows them, the longest first,
// with what Go calls them.
var tokens = []struct{ name, layout string }{
	{"YYYY", "2006"}, {"Month", "January"}, {"HH24", "15"}, {"HH12", "03"}, {"Mon", "Jan"}, {"Day", "Monday"},
	{".US", ".000000"}, {".MS", ".000"}, {"YY", "06"}, {"MM", "01"}, {"DD", "02"}, {"Dy", "Mon"}, {"HH", "03"}, {"MI", "04"}, {"SS", "05"},
	{"AM", "PM"}, {"PM", "PM"}, {"OF", "-07:00"}, {"T", "T"}, {"Z", "Z"},
}

// goLayout translates a layout.
func goLayout(layout string) (string, error) {
	var out strings.Builder
	for rest := layout; rest != ""; {
		if i := tokenAt(rest); i >= 0 {
			out.WriteString(tokens[i].layout)
			rest = rest[len(tokens[i].name):]
			continue
		}
		if c := rest[0]; c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' {
			return "", fmt.Errorf("layout: %q at %q: it knows YYYY YY MM Mon Month DD Dy Day HH24 HH12 MI SS .MS .US AM OF T Z and signs between them", layout, rest)
		}
		out.WriteByte(rest[0])
		rest = rest[1:]
	}
	if out.Len() == 0 {
		return "", errors.New("layout: it is empty")
	}
	return out.String(), nil
}

func tokenAt(text string) int {
	for i := range tokens {
		if strings.HasPrefix(text, tokens[i].name) {
			return i
		}
	}
	return -1
}

// isoLayouts are read where no layout is given.
var isoLayouts = []string{
	"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07", "2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999Z0700",
	"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02",
}

// timeScanner reads dates and timestamps: by layout, as seconds, milliseconds or
// microseconds since 1970 (epoch, epoch_ms, epoch_us), or as ISO 8601.
func timeScanner(to arrow.DataType, layout string) (scanner, error) {
	units := map[string]int64{"epoch": 1_000_000, "epoch_ms": 1000, "epoch_us": 1}
	layouts := isoLayouts
	unit, counts := units[layout]
	if layout != "" && !counts {
		one, err := goLayout(layout)
		if err != nil {
			return nil, err
		}
		layouts = []string{one}
	}
	read := func(text string) (int64, error) {
		switch {
		case text == "infinity":
			return batch.PosInfinity, nil
		case text == "-infinity":
			return batch.NegInfinity, nil
		case counts:
			return readEpoch(text, unit)
		}
		for _, l := range layouts {
			if t, err := time.Parse(l, text); err == nil {
				if t.Nanosecond()%1000 != 0 {
					return 0, errors.New("it has parts of a microsecond")
				}
				return t.UnixMicro(), nil
			}
		}
		return 0, errors.New("it does not have the layout")
	}
	return func(c *batch.ColumnBuilder, text []byte) error {
		micros, err := read(string(text))
		if err != nil {
			return describe(to, err.Error())
		}
		return appendMicros(c, to, micros)
	}, nil
}

func readEpoch(text string, unit int64) (int64, error) {
	digits, places, ok := parseNumber([]byte(text))
	if !ok {
		return 0, errors.New("it is no number")
	}
	scale := 0
	for u := unit; u > 1; u /= 10 {
		scale++
	}
	v, exact := rescale(digits, places, scale)
	if !exact || !v.IsInt64() {
		return 0, errors.New("it has parts of a microsecond, or is out of range")
	}
	return v.Int64(), nil
}

const microsPerDay = 86_400_000_000

// appendMicros appends a time as a date or a timestamp. A date has no time of
// day: one that would be lost is refused.
func appendMicros(c *batch.ColumnBuilder, to arrow.DataType, micros int64) error {
	if to.ID() == arrow.TIMESTAMP {
		c.AppendUint64(uint64(micros))
		return nil
	}
	switch {
	case micros == batch.PosInfinity:
		c.AppendUint32(batch.PosInfinityDate)
	case micros == batch.NegInfinity:
		days := int32(batch.NegInfinityDate)
		c.AppendUint32(uint32(days))
	case micros%microsPerDay != 0:
		return describe(to, "it has a time of day, which a date would lose")
	default:
		c.AppendUint32(uint32(int32(micros / microsPerDay)))
	}
	return nil
}

// microsOf reads dates and timestamps as microseconds since 1970.
func microsOf(a arrow.Array) func(row int) (int64, error) {
	if dates, ok := a.(*array.Date32); ok {
		return func(row int) (int64, error) {
			switch d := int64(dates.Value(row)); {
			case d == batch.PosInfinityDate:
				return batch.PosInfinity, nil
			case d == batch.NegInfinityDate:
				return batch.NegInfinity, nil
			case d > math.MaxInt64/microsPerDay || d < -math.MaxInt64/microsPerDay:
				return 0, errors.New("the date is outside the range of timestamps")
			default:
				return d * microsPerDay, nil
			}
		}
	}
	times := a.(*array.Timestamp)
	return func(row int) (int64, error) { return int64(times.Value(row)), nil }
}

// bindTime moves, cuts and re-zones dates and timestamps, in this order: zone
// takes a timestamptz to the clock of a zone, then months, days and shift are
// added, then the time is cut to a unit. Infinity stays.
func bindTime(b *binding) (*Kernel, error) {
	var p struct {
		Zone     string `json:"zone"`
		Months   int    `json:"months"`
		Days     int    `json:"days"`
		Shift    string `json:"shift"`
		Truncate string `json:"truncate"`
	}
	if err := errors.Join(b.takes(1), b.decode(&p)); err != nil {
		return nil, err
	}
	from := b.inputs[0].Type
	if from.ID() != arrow.DATE32 && from.ID() != arrow.TIMESTAMP {
		return nil, fmt.Errorf("%s is %s: it works on dates and timestamps", b.inputs[0], from)
	}
	to, zone := from, time.UTC
	if p.Zone != "" {
		var err error
		if zone, err = time.LoadLocation(p.Zone); err != nil || p.Zone == "Local" {
			return nil, fmt.Errorf("zone: %q is not the name of a time zone, such as Europe/Berlin", p.Zone)
		}
		if t, ok := from.(*arrow.TimestampType); !ok || t.TimeZone == "" {
			return nil, fmt.Errorf("zone: %s is no timestamp with time zone", b.inputs[0])
		}
		to = &arrow.TimestampType{Unit: arrow.Microsecond}
	}
	shift := time.Duration(0)
	if p.Shift != "" {
		var err error
		if shift, err = time.ParseDuration(p.Shift); err != nil || shift%time.Microsecond != 0 {
			return nil, fmt.Errorf("shift: %q is not a duration such as -1h30m", p.Shift)
		}
	}
	cut, ok := cuts[p.Truncate]
	if !ok || max(p.Months, -p.Months) > 120_000 || max(p.Days, -p.Days) > 3_660_000 {
		return nil, fmt.Errorf("truncate: %q is not year, quarter, month, week, day, hour, minute or second, or months or days are too many", p.Truncate)
	}
	return &Kernel{Output: to, run: func(in []Column, rows int, out *result) error {
		micros := microsOf(in[0].Array)
		return fill(to, in, rows, out, func(c *batch.ColumnBuilder, row int) error {
			v, err := micros(row)
			if err != nil {
				return err
			}
			if v == batch.PosInfinity || v == batch.NegInfinity {
				return appendMicros(c, to, v)
			}
			t := time.UnixMicro(v).UTC()
			if p.Zone != "" {
				_, offset := t.In(zone).Zone()
				t = t.Add(time.Duration(offset) * time.Second)
			}
			t = cut(addMonths(t, p.Months).AddDate(0, 0, p.Days).Add(shift))
			return appendMicros(c, to, t.UnixMicro())
		})
	}}, nil
}

// addMonths keeps the day, or takes the last one of a month that has fewer, as
// PostgreSQL does.
func addMonths(t time.Time, months int) time.Time {
	if months == 0 {
		return t
	}
	first := time.Date(t.Year(), t.Month()+time.Month(months), 1, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(t.Day(), last)-1)
}

var cuts = map[string]func(time.Time) time.Time{
	"":        func(t time.Time) time.Time { return t },
	"second":  func(t time.Time) time.Time { return t.Truncate(time.Second) },
	"minute":  func(t time.Time) time.Time { return t.Truncate(time.Minute) },
	"hour":    func(t time.Time) time.Time { return t.Truncate(time.Hour) },
	"day":     func(t time.Time) time.Time { return date(t.Year(), t.Month(), t.Day()) },
	"week":    func(t time.Time) time.Time { return date(t.Year(), t.Month(), t.Day()-(int(t.Weekday())+6)%7) },
	"month":   func(t time.Time) time.Time { return date(t.Year(), t.Month(), 1) },
	"quarter": func(t time.Time) time.Time { return date(t.Year(), (t.Month()-1)/3*3+1, 1) },
	"year":    func(t time.Time) time.Time { return date(t.Year(), 1, 1) },
}

func date(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}
