package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/leat-etl/leat/plugins/bundle/strict"
)

// ConfigError says what is wrong with the settings of a plugin, a sentence a
// fault. It never holds a setting's value.
type ConfigError struct {
	Plugin string
	Faults []string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("settings of plugin %s: %s", e.Plugin, strings.Join(e.Faults, "; "))
}

// hostOnly marks the keys of a schema that only the host may see.
const hostOnly = "x-leat-host"

// filePath marks a setting that names a file: it is relative to the folder of
// the pipeline file.
const filePath = "x-leat-path"

// noLoader refuses schemas from elsewhere: a manifest must be read alike
// everywhere.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference to %s: a settings schema may not refer to other documents", url)
}

// placeOf is where a text is no JSON, as :line:column, empty for another error.
func placeOf(text []byte, err error) string {
	before := text
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		before = text[:max(0, min(int(syntax.Offset)-1, len(text)))]
	case !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		return ""
	}
	return fmt.Sprintf(":%d:%d", 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n'))
}

func compileSchema(m Manifest) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(m.ConfigSchema))
	if err != nil {
		return nil, fmt.Errorf("settings schema of plugin %s is not JSON: %w", m.Name, err)
	}
	const place = "leat:///config.schema.json"
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	if err := c.AddResource(place, doc); err != nil {
		return nil, fmt.Errorf("settings schema of plugin %s: %w", m.Name, err)
	}
	schema, err := c.Compile(place)
	if err != nil {
		return nil, fmt.Errorf("settings schema of plugin %s: %w", m.Name, err)
	}
	return schema, nil
}

// ValidateConfig checks the settings of a plugin, a JSON object, against the
// schema of its manifest. Faults are returned together, as *ConfigError.
func ValidateConfig(m Manifest, config json.RawMessage) error {
	schema, err := compileSchema(m)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(config))
	if err != nil {
		return &ConfigError{m.Name, []string{"not JSON"}}
	}
	err = schema.Validate(value)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	var tree any
	if err := json.Unmarshal(m.ConfigSchema, &tree); err != nil {
		return fmt.Errorf("settings schema of plugin %s: %w", m.Name, err)
	}
	e := &ConfigError{Plugin: m.Name}
	e.collect(tree, invalid)
	slices.Sort(e.Faults)
	e.Faults = slices.Compact(e.Faults)
	return e
}

// HasSetting says whether the schema of the settings names one of the first level.
func (m Manifest) HasSetting(name string) bool {
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	return json.Unmarshal(m.ConfigSchema, &schema) == nil && schema.Properties[name] != nil
}

// collect adds the faults at the leaves of a validation error.
func (e *ConfigError) collect(schema any, v *jsonschema.ValidationError) {
	path := configPath(v.InstanceLocation)
	add := func(format string, args ...any) { e.Faults = append(e.Faults, fmt.Sprintf(format, args...)) }
	switch k := v.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		known := knownKeys(schema, v.InstanceLocation)
		for _, name := range k.Properties {
			add("%s.%s is unknown: %s", path, name, strict.Suggest(name, known))
		}
	case *kind.Required:
		for _, name := range k.Missing {
			add("%s.%s is missing", path, name)
		}
	case *kind.Type:
		add("%s must be %s, not %s", path, strings.Join(k.Want, " or "), k.Got)
	case *kind.Enum:
		add("%s must be one of %s", path, list(k.Want))
	case *kind.Const:
		add("%s must be %s", path, list([]any{k.Want}))
	case *kind.Pattern:
		add("%s does not match the pattern %s", path, k.Want)
	case *kind.Format:
		add("%s is not a valid %s", path, k.Want)
	case *kind.AnyOf, *kind.OneOf, *kind.Not:
		add("%s is in none of the forms that are allowed there", path)
	default:
		if len(v.Causes) == 0 {
			add("%s is wrong: %s", path, v.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
		}
		for _, cause := range v.Causes {
			e.collect(schema, cause)
		}
	}
}

func configPath(location []string) string {
	path := "config"
	for _, step := range location {
		if i, err := strconv.Atoi(step); err == nil {
			path += fmt.Sprintf("[%d]", i+1)
		} else {
			path += "." + step
		}
	}
	return path
}

// knownKeys follows a location through properties and items of a schema.
func knownKeys(schema any, location []string) []string {
	for _, step := range location {
		node, _ := schema.(map[string]any)
		if items, ok := node["items"]; ok {
			schema = items
			continue
		}
		properties, _ := node["properties"].(map[string]any)
		schema = properties[step]
	}
	node, _ := schema.(map[string]any)
	properties, _ := node["properties"].(map[string]any)
	var keys []string
	for key := range properties {
		keys = append(keys, key)
	}
	return keys
}

func list(values []any) string {
	words := make([]string, len(values))
	for i, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			text = []byte("?")
		}
		words[i] = string(text)
	}
	return strings.Join(words, ", ")
}

// SplitConfig parts the settings of a plugin: what the guest may see, and what
// the schema marks with "x-leat-host": true for the host alone, as credentials
// are. Those marked "x-leat-path" besides are made relative to dir. Marks
// count at the top level of the settings.
func SplitConfig(m Manifest, config json.RawMessage, dir string) (guest, host json.RawMessage, err error) {
	var schema struct {
		Properties map[string]map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(m.ConfigSchema, &schema); err != nil {
		return nil, nil, fmt.Errorf("settings schema of plugin %s: %w", m.Name, err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(config, &all); err != nil {
		return nil, nil, &ConfigError{m.Name, []string{"not a JSON object"}}
	}
	forGuest, forHost := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for key, value := range all {
		if string(schema.Properties[key][hostOnly]) == "true" {
			if string(schema.Properties[key][filePath]) == "true" {
				value = inFolder(value, dir)
			}
			forHost[key] = value
		} else {
			forGuest[key] = value
		}
	}
	if guest, err = json.Marshal(forGuest); err == nil {
		host, err = json.Marshal(forHost)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("settings of plugin %s: %w", m.Name, err)
	}
	return guest, host, nil
}

// inFolder makes a relative path, a JSON string, one of folder dir.
func inFolder(value json.RawMessage, dir string) json.RawMessage {
	var path string
	if json.Unmarshal(value, &path) != nil || path == "" || filepath.IsAbs(path) {
		return value
	}
	text, err := json.Marshal(filepath.Join(dir, path))
	if err != nil {
		return value // a string always has a JSON form
	}
	return text
}
