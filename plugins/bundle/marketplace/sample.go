package marketplace

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// sampleSettings makes settings with which the playground can begin: the first
// example of a schema, or else what it requires, by its defaults, examples and
// first choices, and columns of the sample where it wants a list of names.
func sampleSettings(schema []byte) string {
	var s struct {
		Examples   []json.RawMessage `json:"examples"`
		Required   []string          `json:"required"`
		Properties map[string]struct {
			Type     any   `json:"type"`
			Default  any   `json:"default"`
			Enum     []any `json:"enum"`
			Examples []any `json:"examples"`
		} `json:"properties"`
	}
	out := map[string]any{}
	if err := json.Unmarshal(schema, &s); err != nil {
		return "{}"
	}
	if len(s.Examples) > 0 {
		return string(s.Examples[0])
	}
	for _, name := range s.Required {
		p := s.Properties[name]
		switch {
		case p.Default != nil:
			out[name] = p.Default
		case len(p.Examples) > 0:
			out[name] = p.Examples[0]
		case len(p.Enum) > 0:
			out[name] = p.Enum[0]
		case p.Type == "array":
			out[name] = []string{"email"}
		case p.Type == "integer" || p.Type == "number":
			out[name] = 1
		case p.Type == "boolean":
			out[name] = true
		case p.Type == "object":
			out[name] = map[string]any{}
		default:
			out[name] = "email"
		}
	}
	text, err := json.Marshal(out)
	if err != nil {
		return "{}"
	}
	return string(text)
}

// hostSettings names the settings that a schema keeps from the plugin.
func hostSettings(schema []byte) string {
	var s struct {
		Properties map[string]struct {
			Host bool `json:"x-leat-host"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(schema, &s); err != nil {
		return ""
	}
	maps.DeleteFunc(s.Properties, func(_ string, p struct {
		Host bool `json:"x-leat-host"`
	}) bool {
		return !p.Host
	})
	return strings.Join(slices.Sorted(maps.Keys(s.Properties)), " ")
}
