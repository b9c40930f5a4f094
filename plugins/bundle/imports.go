package bundle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/plugins/wasm/meter"
)

// ABI is the version of the plugin interface that this leat speaks.
const ABI = 1

// grants are the capabilities that a module reaches through imports of their
// own, named <capability>_<function>, with what they mean in plain words.
// log, metrics, clock and random need none to be installed: they may be declared
// by any plugin.
var grants = map[string]string{
	"sql":  "run SQL on the destination's own connection, never seeing its credentials",
	"http": "send HTTP requests to the hosts that the pipeline allows",
	"blob": "read and write files in the folder that the pipeline names",
	"kv":   "keep small values between runs in a space of its own",
}

// Explain says in plain words what a capability lets a plugin do.
func Explain(capability string) string {
	if words, ok := grants[capability]; ok {
		return words
	}
	switch capability {
	case "log":
		return "write lines to the log, a bounded number"
	case "metrics":
		return "publish numbers of its own beside the engine's"
	case "clock":
		return "know the time of day"
	case "random":
		return "draw random numbers"
	}
	return "use " + capability
}

// needsGrant says whether a capability is one that someone has to grant.
func needsGrant(capability string) bool { return grants[capability] != "" }

// Grants returns the capabilities of a manifest that have to be granted,
// sorted.
func (m Manifest) Grants() []string {
	var out []string
	for _, c := range m.Capabilities {
		if needsGrant(c) {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// CheckModule holds a module against its manifest without running it: the
// interface it speaks, and that the capabilities it imports are exactly those
// that the manifest declares.
func CheckModule(m Manifest, module []byte) error {
	if m.ABI != ABI {
		return fmt.Errorf("plugin %s speaks ABI %d, this leat speaks ABI %d: take a version of the plugin, or of leat, that speaks the other's", m.Name, m.ABI, ABI)
	}
	info, err := meter.Inspect(module)
	if err != nil {
		return fmt.Errorf("module of plugin %s: %w", m.Name, err)
	}
	var used []string
	for _, i := range info.Imports {
		switch i.Module {
		case "wasi_snapshot_preview1":
		case "leat":
			if c, _, found := strings.Cut(i.Name, "_"); found && needsGrant(c) {
				used = append(used, c)
			}
		default:
			return fmt.Errorf("module of plugin %s imports %s.%s: a plugin imports from leat and wasi_snapshot_preview1 only", m.Name, i.Module, i.Name)
		}
	}
	slices.Sort(used)
	used = slices.Compact(used)
	declared := m.Grants()
	for _, c := range used {
		if !slices.Contains(declared, c) {
			return fmt.Errorf("module of plugin %s uses the capability %s, which its %s does not declare: it declares %s", m.Name, c, ManifestName, Words(declared))
		}
	}
	for _, c := range declared {
		if !slices.Contains(used, c) {
			return fmt.Errorf("%s of plugin %s declares the capability %s, which its module does not use: it uses %s", ManifestName, m.Name, c, Words(used))
		}
	}
	return nil
}

// Words lists names for a sentence, "nothing" for none.
func Words(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}
