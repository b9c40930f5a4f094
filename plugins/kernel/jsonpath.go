package kernel

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// bindJSONPath takes a value out of JSON. A number keeps all its digits; where
// there is nothing at the path the result is null.
func bindJSONPath(b *binding) (*Kernel, error) {
	p := struct {
		Path string `json:"path"`
		As   string `json:"as"`
	}{As: "text"}
	if err := b.text(); err != nil {
		return nil, err
	}
	if err := b.decode(&p); err != nil {
		return nil, err
	}
	steps, err := parsePath(p.Path)
	if err != nil {
		return nil, err
	}
	if p.As != "text" && p.As != "json" {
		return nil, fmt.Errorf("as: %q is not text or json", p.As)
	}
	return mapsText(func() mapper {
		return func(dst, value []byte) ([]byte, error) {
			if !gjson.ValidBytes(value) {
				return dst, errors.New("the value is not JSON")
			}
			found := gjson.ParseBytes(value)
			for _, s := range steps {
				if s.index != found.IsArray() || !s.index && !found.IsObject() {
					return dst, errNull
				}
				if found = found.Get(s.name); !found.Exists() {
					return dst, errNull
				}
			}
			switch {
			case p.As == "json":
				return append(dst, found.Raw...), nil
			case found.Type == gjson.Null:
				return dst, errNull
			case found.Type == gjson.String:
				return append(dst, found.Str...), nil
			}
			return append(dst, found.Raw...), nil
		}
	}), nil
}

// pathStep is a member or an element.
type pathStep struct {
	name  string // as gjson takes it
	index bool
}

const maxPathSteps = 64

// parsePath reads $.a.b[0]["c d"].
func parsePath(path string) ([]pathStep, error) {
	rest, ok := strings.CutPrefix(path, "$")
	if !ok {
		return nil, fmt.Errorf("path: %q does not begin with $, as in $.address.lines[0]", path)
	}
	var steps []pathStep
	for rest != "" && len(steps) < maxPathSteps {
		switch {
		case strings.HasPrefix(rest, `["`):
			quoted, err := strconv.QuotedPrefix(rest[1:])
			if err != nil || !strings.HasPrefix(rest[1+len(quoted):], "]") {
				return nil, fmt.Errorf("path: %q has a name in brackets that does not end", path)
			}
			name, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("path: %q has a name that cannot be read", path)
			}
			steps, rest = append(steps, pathStep{gjson.Escape(name), false}), rest[len(quoted)+2:]
		case rest[0] == '[':
			digits, after, found := strings.Cut(rest[1:], "]")
			n, err := strconv.ParseUint(digits, 10, 31)
			if err != nil || !found {
				return nil, fmt.Errorf("path: %q has a bracket that holds neither a number nor a name in quotes", path)
			}
			steps, rest = append(steps, pathStep{strconv.FormatUint(n, 10), true}), after
		case rest[0] == '.':
			name := rest[1:]
			if end := strings.IndexAny(name, ".["); end >= 0 {
				name = name[:end]
			}
			if name == "" || strings.ContainsAny(name, `*?()"' `) {
				return nil, fmt.Errorf("path: %q: steps are .name, [\"any name\"] and [number]", path)
			}
			steps, rest = append(steps, pathStep{gjson.Escape(name), false}), rest[1+len(name):]
		default:
			return nil, fmt.Errorf("path: %q: steps are .name, [\"any name\"] and [number]", path)
		}
	}
	if rest != "" {
		return nil, fmt.Errorf("path: it has more than %d steps", maxPathSteps)
	}
	return steps, nil
}
