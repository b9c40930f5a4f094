package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// bindRangeJSON prints ranges and multiranges as JSON:
// {"lower":1,"upper":10,"bounds":"[)"}, null for a side without bound, {"empty":true}.
func bindRangeJSON(b *binding) (*Kernel, error) {
	if err := errors.Join(b.text(), b.decode(&struct{}{})); err != nil {
		return nil, err
	}
	name := b.inputs[0].PG.Name
	numbers := strings.HasPrefix(name, "int4") || strings.HasPrefix(name, "int8") || strings.HasPrefix(name, "num")
	return mapsText(func() mapper {
		return func(dst, value []byte) ([]byte, error) {
			if len(value) == 0 || value[0] != '{' {
				dst, rest, err := appendRange(dst, value, numbers)
				if err == nil && len(rest) > 0 {
					err = errRange
				}
				return dst, err
			}
			dst = append(dst, '[')
			var err error
			for rest := value[1:]; string(rest) != "}"; {
				if len(dst) > 0 && dst[len(dst)-1] != '[' {
					after, ok := bytes.CutPrefix(rest, []byte(","))
					if !ok {
						return dst, errRange
					}
					dst, rest = append(dst, ','), after
				}
				if dst, rest, err = appendRange(dst, rest, numbers); err != nil {
					return dst, err
				}
			}
			return append(dst, ']'), nil
		}
	}), nil
}

var errRange = errors.New("the value is no range")

// appendRange appends the range at the head of text and returns what follows.
func appendRange(dst, text []byte, numbers bool) (_, rest []byte, err error) {
	if after, ok := bytes.CutPrefix(text, []byte("empty")); ok {
		return append(dst, `{"empty":true}`...), after, nil
	}
	if len(text) < 3 || text[0] != '[' && text[0] != '(' {
		return dst, nil, errRange
	}
	opening := text[0]
	dst, rest, err = appendBound(append(dst, `{"lower":`...), text[1:], ',', numbers)
	if err == nil {
		dst, rest, err = appendBound(append(dst, `,"upper":`...), rest, 0, numbers)
	}
	if err != nil {
		return dst, nil, err
	}
	closing := text[len(text)-len(rest)-1]
	return append(dst, `,"bounds":"`+string([]byte{opening, closing})+`"}`...), rest, nil
}

// appendBound appends one side of a range, which ends with end or, if that is
// 0, with a closing bracket.
func appendBound(dst, text []byte, end byte, numbers bool) (_, rest []byte, err error) {
	var bound []byte
	quotes, empty := false, true
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text), c == '"' && quotes && i+1 < len(text) && text[i+1] == '"':
			i++
			bound, empty = append(bound, text[i]), false
		case c == '"':
			quotes, empty = !quotes, false
		case !quotes && (end != 0 && c == end || end == 0 && (c == ']' || c == ')')):
			switch {
			case empty:
				return append(dst, "null"...), text[i+1:], nil
			case numbers && isNumber(bound):
				return append(dst, bound...), text[i+1:], nil
			}
			return append(appendEscaped(append(dst, '"'), bound), '"'), text[i+1:], nil
		default:
			bound, empty = append(bound, c), false
		}
	}
	return dst, nil, errRange
}

// bindIntervalISO prints intervals as ISO 8601: P1Y2M3DT4H5M6.7S.
func bindIntervalISO(b *binding) (*Kernel, error) {
	if err := errors.Join(b.text(), b.decode(&struct{}{})); err != nil {
		return nil, err
	}
	return mapsText(func() mapper { return appendISOInterval }), nil
}

var errInterval = errors.New("the value is no interval in PostgreSQL's own style")

var intervalUnits = map[string]string{"year": "Y", "years": "Y", "mon": "M", "mons": "M", "day": "D", "days": "D"}

func appendISOInterval(dst, value []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, 'P')
	words := strings.Fields(string(value))
	for i := 0; i < len(words); i++ {
		if clock := words[i]; strings.Contains(clock, ":") {
			parts := strings.Split(strings.TrimLeft(clock, "+-"), ":")
			if len(parts) != 3 || i != len(words)-1 {
				return dst, errInterval
			}
			sign := ""
			if clock[0] == '-' {
				sign = "-"
			}
			at := len(dst)
			for k, unit := range []string{"H", "M", "S"} {
				n := strings.TrimLeft(parts[k], "0")
				if strings.Trim(parts[k], "0123456789.") != "" || parts[k] == "" {
					return dst, errInterval
				}
				if strings.Contains(n, ".") {
					n = strings.TrimRight(strings.TrimRight(n, "0"), ".")
					if strings.HasPrefix(n, ".") {
						n = "0" + n
					}
				}
				if n != "" {
					dst = append(append(append(dst, sign...), n...), unit...)
				}
			}
			if len(dst) > at {
				dst = append(dst[:at], "T"+string(dst[at:])...)
			}
			continue
		}
		number := strings.TrimPrefix(words[i], "+")
		if i+1 == len(words) || !isNumber([]byte(number)) || intervalUnits[words[i+1]] == "" {
			return dst, errInterval
		}
		i++
		dst = append(append(dst, number...), intervalUnits[words[i]]...)
	}
	if len(words) == 0 {
		return dst, errInterval
	}
	if len(dst) == start+1 {
		dst = append(dst, "T0S"...)
	}
	return dst, nil
}

// bindGeoJSON prints geometric values as GeoJSON.
func bindGeoJSON(b *binding) (*Kernel, error) {
	if err := errors.Join(b.text(), b.decode(&struct{}{})); err != nil {
		return nil, err
	}
	kind := b.inputs[0].PG.Name
	switch kind {
	case "point", "lseg", "box", "path", "polygon":
	default:
		return nil, fmt.Errorf("GeoJSON has no form for %s: it works on point, lseg, box, path and polygon", kind)
	}
	return mapsText(func() mapper {
		return func(dst, value []byte) ([]byte, error) {
			numbers := strings.FieldsFunc(string(value), func(r rune) bool { return strings.ContainsRune("()[],", r) })
			for _, n := range numbers {
				if !isNumber([]byte(n)) {
					return dst, errors.New("GeoJSON has no form for NaN and Infinity")
				}
			}
			if len(numbers) == 0 || len(numbers)%2 != 0 {
				return dst, fmt.Errorf("the value is no %s", kind)
			}
			return appendGeoJSON(dst, kind, len(value) > 0 && value[0] == '[', numbers), nil
		}
	}), nil
}

func appendGeoJSON(dst []byte, kind string, open bool, n []string) []byte {
	name, before, after := "LineString", "[", "]"
	switch kind {
	case "point":
		return append(dst, `{"type":"Point","coordinates":[`+n[0]+","+n[1]+"]}"...)
	case "box": // two opposite corners
		if len(n) == 4 {
			n = []string{n[2], n[3], n[0], n[3], n[0], n[1], n[2], n[1]}
		}
		name, before, after = "Polygon", "[[", "]]"
	case "polygon":
		name, before, after = "Polygon", "[[", "]]"
	case "path":
		if !open {
			n = append(n, n[0], n[1])
		}
	}
	if name == "Polygon" { // a ring ends where it began
		n = append(n, n[0], n[1])
	}
	dst = append(dst, `{"type":"`+name+`","coordinates":`+before...)
	for i := 0; i < len(n); i += 2 {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, "["+n[i]+","+n[i+1]+"]"...)
	}
	return append(dst, after+"}"...)
}
