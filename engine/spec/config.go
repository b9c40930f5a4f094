package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"
)

// Config is the settings of a plugin as the file gives them. Secrets in it are
// read only when the settings are revealed.
type Config struct {
	// tree is a function for the reason that Secret's from is one.
	tree func() map[string]any
	dir  string
}

// NewTransform returns a transform that is not in the file: plugin, for all
// tables, with these settings.
func NewTransform(plugin string, config map[string]any) (Transform, error) {
	t := Transform{Plugin: plugin, Tables: []Pattern{anyTable}}
	if err := t.Config.FromTOML(config); err != nil {
		return Transform{}, fmt.Errorf("settings of plugin %s: %w", plugin, err)
	}
	return t, nil
}

// JSON returns the settings as a JSON object. Revealed it holds the values of
// secrets and must not be logged or shown; otherwise they stand as [secret].
func (c Config) JSON(reveal bool) (json.RawMessage, error) {
	if c.tree == nil {
		return json.RawMessage("{}"), nil
	}
	tree, err := c.resolve(c.tree(), reveal)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("encode settings: %w", err)
	}
	return text, nil
}

// ConfigJSON returns the plugin's settings, see Config.JSON.
func (d Destination) ConfigJSON(reveal bool) (json.RawMessage, error) { return d.Config.JSON(reveal) }

// ConfigJSON returns the plugin's settings, see Config.JSON.
func (t Transform) ConfigJSON(reveal bool) (json.RawMessage, error) { return t.Config.JSON(reveal) }

func (c Config) resolve(v any, reveal bool) (any, error) {
	if from, ok := outside(v); ok {
		if !reveal {
			return redacted, nil
		}
		return from.in(c.dir).Reveal()
	}
	var err error
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			if out[k], err = c.resolve(e, reveal); err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			if out[i], err = c.resolve(e, reveal); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []map[string]any:
		out := make([]any, len(v))
		for i, e := range v {
			if out[i], err = c.resolve(e, reveal); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

// FromTOML implements strict.Value.
func (c *Config) FromTOML(v any) error {
	tree, ok := v.(map[string]any)
	if !ok {
		return errors.New("must be a table of settings")
	}
	c.tree = func() map[string]any { return tree }
	return checkSettings(tree)
}

// checkSettings refuses what JSON cannot say.
func checkSettings(v any) error {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if err := checkSettings(v[k]); err != nil {
				return fmt.Errorf("%w in %q", err, k)
			}
		}
	case []any:
		for _, e := range v {
			if err := checkSettings(e); err != nil {
				return err
			}
		}
	case []map[string]any:
		for _, e := range v {
			if err := checkSettings(e); err != nil {
				return err
			}
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return errors.New("holds a number that is not finite")
		}
	case time.Time:
		return errors.New("holds a date or time without quotes: write it as a string")
	}
	return nil
}

// TypeName implements strict.Value.
func (*Config) TypeName() string { return "a table" }

// JSONSchema implements strict.Value.
func (*Config) JSONSchema() map[string]any { return map[string]any{"type": "object"} }

// String prints the settings without secrets.
func (c Config) String() string {
	text, err := c.JSON(false)
	if err != nil {
		return "[settings]"
	}
	return string(text)
}

// LogValue implements slog.LogValuer.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON writes the settings without secrets.
func (c Config) MarshalJSON() ([]byte, error) { return c.JSON(false) }
