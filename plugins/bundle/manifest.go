package bundle

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/leat-etl/leat/plugins/bundle/strict"
)

// Kind is what a plugin does.
type Kind string

// The kinds.
const (
	Transform   Kind = "transform"
	Destination Kind = "destination"
)

// Manifest describes a plugin.
type Manifest struct {
	// Publisher is who vouches for the plugin: their key signs its bundle.
	Publisher    string   `toml:"publisher" doc:"Who publishes the plugin: lower-case letters, digits and hyphens. A plugin that is packed has one." max:"64"`
	Name         string   `toml:"name" doc:"Name of the plugin: lower-case letters, digits and hyphens." required:"true" min:"1" max:"64"`
	Version      string   `toml:"version" doc:"Version of the plugin, for example 1.2.0." required:"true" min:"1" max:"64"`
	Kind         Kind     `toml:"kind" doc:"What the plugin does." required:"true" enum:"transform|destination"`
	ABI          int      `toml:"abi" doc:"Version of the plugin interface that the module speaks." required:"true" min:"1" max:"1000"`
	Description  string   `toml:"description" doc:"One sentence for lists." required:"true" min:"1" max:"500"`
	Licence      string   `toml:"licence" doc:"SPDX identifier of the licence." required:"true" min:"1" max:"64"`
	Capabilities []string `toml:"capabilities" doc:"What the plugin asks for; nothing else is linked." enum:"sql|http|blob|kv|log|metrics|clock|random"`
	// Driver is the SQL driver behind the sql capability of a destination.
	Driver string `toml:"driver" doc:"SQL driver that a destination with the sql capability loads through." enum:"duckdb|postgres"`
	Limits Limits `toml:"limits" doc:"Bounds of the plugin that a pipeline may override."`

	// ConfigSchema is the JSON Schema of the settings. It is the schema of an
	// empty object for a plugin without settings.
	ConfigSchema json.RawMessage `toml:"-"`
}

// noSettings is the schema of a plugin that takes none.
const noSettings = `{"type":"object","additionalProperties":false}`

// ParseManifest checks the text of a manifest; file is its name for errors.
// schema is the text of config.schema.json, nil where there is none. Faults of
// the manifest are returned together, as strict.Errors.
func ParseManifest(file string, text, schema []byte) (Manifest, error) {
	var m Manifest
	doc, err := strict.Decode(file, text, &m)
	if err != nil {
		return Manifest{}, err
	}
	if m.Name != "" && !pluginName.MatchString(m.Name) {
		doc.Fault(strict.Path{"name"}, "is %q: %s", m.Name, nameGrammar)
	}
	if m.Publisher != "" && !pluginName.MatchString(m.Publisher) {
		doc.Fault(strict.Path{"publisher"}, "is %q: %s", m.Publisher, nameGrammar)
	}
	if m.Version != "" && CheckVersion(m.Version) != nil {
		doc.Fault(strict.Path{"version"}, "is %q: %s", m.Version, versionGrammar)
	}
	switch sql := m.Kind == Destination && slices.Contains(m.Capabilities, "sql"); {
	case sql && m.Driver == "" && (m.Name == "duckdb" || m.Name == "postgres"):
		m.Driver = m.Name
	case sql && m.Driver == "":
		doc.Fault(strict.Path{"driver"}, "is missing: a destination with the capability sql names its driver, duckdb or postgres")
	case !sql && m.Driver != "":
		doc.Fault(strict.Path{"driver"}, "is only for a destination with the capability sql")
	}
	if err := doc.Err(); err != nil {
		return Manifest{}, err
	}
	if schema == nil {
		schema = []byte(noSettings)
	}
	m.ConfigSchema = schema
	if _, err := compileSchema(m); err != nil {
		return Manifest{}, fmt.Errorf("%s%s: %w", SchemaName, placeOf(schema, err), err)
	}
	return m, nil
}

// Ref names the plugin as its publisher does.
func (m Manifest) Ref() Ref { return Ref{m.Publisher, m.Name, m.Version} }
