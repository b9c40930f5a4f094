package bundle

import (
	"fmt"
	"time"

	"github.com/leat-etl/leat/plugins/bundle/strict"
)

// Limits bound a plugin. A zero field leaves the decision to the next one:
// the pipeline file, then the manifest, then DefaultLimits.
type Limits struct {
	Memory   strict.Bytes  `toml:"memory" doc:"The most memory one instance of the plugin may have." min:"1MB" max:"4GB"`
	Fuel     int64         `toml:"fuel" doc:"The most fuel one call may burn: about one unit an instruction, the same on every machine." min:"1"`
	Deadline time.Duration `toml:"deadline" doc:"The longest that one call may take." min:"10ms" max:"24h"`
}

// DefaultLimits hold where neither pipeline nor manifest says otherwise.
var DefaultLimits = Limits{Memory: 256 << 20, Fuel: 20_000_000_000, Deadline: 30 * time.Second}

// Beyond says, for people, what of l is more than DefaultLimits allow.
func (l Limits) Beyond() []string {
	var out []string
	if l.Memory > DefaultLimits.Memory {
		out = append(out, fmt.Sprintf("memory of %s, usual is %s", l.Memory, DefaultLimits.Memory))
	}
	if l.Deadline > DefaultLimits.Deadline {
		out = append(out, fmt.Sprintf("calls of %s, usual is %s", l.Deadline, DefaultLimits.Deadline))
	}
	if l.Fuel > DefaultLimits.Fuel {
		out = append(out, fmt.Sprintf("%d units of fuel for a call, usual are %d", l.Fuel, DefaultLimits.Fuel))
	}
	return out
}

// Or fills the zero fields of l from other.
func (l Limits) Or(other Limits) Limits {
	if l.Memory == 0 {
		l.Memory = other.Memory
	}
	if l.Fuel == 0 {
		l.Fuel = other.Fuel
	}
	if l.Deadline == 0 {
		l.Deadline = other.Deadline
	}
	return l
}
