package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"

	"github.com/leat-etl/leat/plugins/wasm/meter"
)

// module is a plugin's code with what it may do.
type module struct {
	host     *Host
	plugin   Plugin
	code     *machineCode
	counters counters
	logs     logBudget
}

// tickEvery is the fuel between two looks at the clock, a fraction of a millisecond:
// the host's collector waits for a guest no longer than that. A quarter of it would
// cost the examples of the kits one or two hundredths of their time.
const tickEvery = 400_000

var wasiFunctions = []string{
	"args_get", "args_sizes_get", "environ_get", "environ_sizes_get", "clock_time_get", "clock_res_get", "random_get",
	"fd_write", "fd_close", "fd_seek", "fd_read", "fd_fdstat_get", "fd_fdstat_set_flags", "fd_prestat_get", "fd_prestat_dir_name",
	"poll_oneoff", "sched_yield", "proc_exit",
}

// freeFunctions of module leat need no grant.
var freeFunctions = []string{"log", "reply", "kernel_run", "kernel_result"}

const (
	jsonCall    = "(i32, i32) -> (i64)"
	noSignature = "() -> ()"
)

var commonExports = map[string]string{
	"leat_abi_version": "() -> (i32)", "leat_alloc": "(i32) -> (i32)", "leat_plan": jsonCall,
}

var transformExports = map[string]string{"leat_process": "(i32) -> (i32)"}

var destinationExports = map[string]string{
	"leat_open": jsonCall, "leat_write": jsonCall, "leat_commit": jsonCall,
	"leat_checkpoint": jsonCall, "leat_rollback": jsonCall, "leat_close": jsonCall,
}

// load checks a module against what it may import and must export. It is
// instrumented and compiled when its first instance starts. grants are the host
// functions beside freeFunctions that it may import.
func (h *Host) load(code []byte, p Plugin, exports map[string]string, grants []string) (*module, error) {
	p.Limits = p.Limits.withDefaults()
	sum := sha256.Sum256(code)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	if p.Digest == "" {
		p.Digest = digest
	}
	m := &module{host: h, plugin: p}
	if p.Digest != digest {
		return nil, m.failure("load", KindContract, "the module's digest is %s, expected %s", digest, p.Digest)
	}
	info, err := meter.Inspect(code)
	if err != nil {
		return nil, m.failure("load", KindContract, "%v", err)
	}
	if err := m.checkImports(info.Imports, grants); err != nil {
		return nil, err
	}
	if err := m.checkExports(info, exports); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if m.code = h.known[sum]; m.code == nil {
		m.code = &machineCode{host: h, code: code, sum: sum}
		h.known[sum] = m.code
	}
	return m, nil
}

// machineCode is a module that is compiled when it is first needed.
type machineCode struct {
	host *Host
	code []byte
	sum  [sha256.Size]byte

	mu       sync.Mutex
	compiled wazero.CompiledModule
}

// compile instruments and compiles the module, once. No other code of a plugin
// reaches the runtime.
func (c *machineCode) compile(ctx context.Context) (wazero.CompiledModule, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.compiled != nil {
		return c.compiled, nil
	}
	metered, err := c.host.instrument(c.code, c.sum)
	if err != nil {
		return nil, err
	}
	if c.compiled, err = c.host.runtime.CompileModule(ctx, metered); err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	c.code = nil
	return c.compiled, nil
}

func (m *module) checkImports(imports []meter.Import, grants []string) error {
	for _, i := range imports {
		switch i.Module {
		case "wasi_snapshot_preview1":
			if slices.Contains(wasiFunctions, i.Name) {
				continue
			}
		case "leat":
			if slices.Contains(freeFunctions, i.Name) || slices.Contains(grants, i.Name) {
				continue
			}
			if _, known := hostFunctions[i.Name]; known {
				return m.failure("load", KindContract, "it imports %s.%s, but the capability %q is not granted to it%s", i.Module, i.Name, capabilityOf(i.Name), howToGrant(capabilityOf(i.Name), imports, grants))
			}
		}
		return m.failure("load", KindContract, "it imports %s.%s, which this host does not offer; see the tables of host functions in pdk/README.md", i.Module, i.Name)
	}
	return nil
}

// howToGrant is the line of the pipeline file that grants what is imported:
// all of it, so that nobody has to come back for the next one. sql a pipeline
// file cannot grant.
func howToGrant(name string, imports []meter.Import, granted []string) string {
	if name == "sql" {
		return ""
	}
	var entries []string
	for _, one := range [][2]string{{"http", `{ hosts = ["api.example.org"] }`}, {"kv", `"10MB"`}, {"blob", `"exports"`}, {"clock", "true"}, {"random", "true"}} {
		mine := func(name string) bool { return capabilityOf(name) == one[0] }
		if slices.ContainsFunc(imports, func(i meter.Import) bool { return i.Module == "leat" && mine(i.Name) }) || slices.ContainsFunc(granted, mine) {
			entries = append(entries, one[0]+" = "+one[1])
		}
	}
	return ": below plugin in the pipeline file, for example, grants = { " + strings.Join(entries, ", ") + " }"
}

func (m *module) checkExports(info *meter.Info, kind map[string]string) error {
	if len(info.Memories) != 1 {
		return m.failure("load", KindContract, "it has %d memories, expected 1", len(info.Memories))
	}
	if least := uint64(info.Memories[0].MinPages) << 16; least > m.plugin.Limits.MemoryBytes {
		return m.failure("load", KindMemory, "it starts with %d bytes of memory, its limit is %d", least, m.plugin.Limits.MemoryBytes)
	}
	found := map[string]string{}
	for _, e := range info.Exports {
		found[e.Name] = e.Signature
		if e.Name == "memory" && e.Kind != "memory" {
			return m.failure("load", KindContract, "its export memory is a %s", e.Kind)
		}
	}
	if _, ok := found["memory"]; !ok {
		return m.failure("load", KindContract, "it does not export its memory as \"memory\"")
	}
	if _, ok := found["_start"]; ok {
		return m.failure("load", KindContract, "it exports _start: build it as a reactor (for Go: -buildmode=c-shared)")
	}
	if s, ok := found["_initialize"]; ok && s != noSignature {
		return m.failure("load", KindContract, "its export _initialize has type %s, expected %s", s, noSignature)
	}
	for _, set := range []map[string]string{commonExports, kind} {
		for name, want := range set {
			if got, ok := found[name]; !ok {
				return m.failure("load", KindContract, "it does not export %s: it is not a plugin of this kind for ABI %d", name, ABI)
			} else if got != want {
				return m.failure("load", KindContract, "its export %s has type %s, expected %s", name, got, want)
			}
		}
	}
	return nil
}

// failure makes an error of the plugin.
func (m *module) failure(op string, k Kind, format string, args ...any) *Error {
	return &Error{Plugin: m.plugin.Name, Version: m.plugin.Version, Op: op, Row: -1, Kind: k, Message: fmt.Sprintf(format, args...)}
}
