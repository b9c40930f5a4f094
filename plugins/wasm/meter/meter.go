// Package meter rewrites a core WebAssembly module at load time so that it
// counts what it executes, and calls the host now and then.
//
// # What a guest can and cannot do afterwards
//
// The counter is an i64 global that starts at Options.TickEvery and goes down.
// At loop heads, before calls of the host and through tables, where functions
// with loops end, at the entry of functions that direct calls come back to, and
// here and there in long straight code the guest looks whether it is below
// zero, and if so calls the imported function TickModule.TickName, type
// () -> (). The host's tick either adds to the exported global FuelGlobal until
// it is zero or more, or ends the call by a panic. See survey for why no guest
// runs for long without a tick, and the host's collector and its deadlines get
// their turn.
//
// # What it costs
//
// Each run of straight code is charged at its beginning, one unit an
// instruction; short runs are charged with the one before them, whether they
// are taken or not, and small functions without loops with their callers. In a
// function with loops the charge goes to a local, and to the counter when a
// share of a tenth of TickEvery is spent and at the end. Where the tick stands
// matters more than what it does: see startOver. BenchmarkOverhead measures it:
// nothing to three tenths, most where a loop over bytes is a handful of
// instructions; the examples of the kits cost seven hundredths in the median.
//
// # Fuel
//
// Fuel is deterministic: the same call on the same state takes the same fuel on
// every machine. It is the number of instructions, with those few that were
// charged and left out. After a call that returned, the fuel it used is what
// the host added to the counter since, minus the change of the counter. After a
// trap the counter may lack what the functions on the stack had not settled;
// the instance is to be thrown away then.
package meter

import (
	"errors"
	"fmt"
)

// Version changes whenever the output for the same input may change. It is
// part of the key under which compiled modules are cached.
const Version = "3"

// Names that Instrument adds to a module. A module that uses them itself is
// refused.
const (
	TickModule = "leat_meter"
	TickName   = "tick"
	FuelGlobal = "leat_meter_fuel"
)

// Limits on what a module may declare.
const (
	// MaxModuleBytes bounds the input.
	MaxModuleBytes = 64 << 20
	// MaxTables bounds the number of tables, MaxTableEntries the size of each:
	// a table's entries take 8 bytes each of the host's own heap.
	MaxTables       = 16
	MaxTableEntries = 1 << 20
	// MaxLocals bounds the parameters and locals of one function, MaxNesting
	// its nested blocks: a compiler's work grows with their product.
	MaxLocals  = 10_000
	MaxNesting = 10_000
	// MaxGrowth bounds the size of the output as a multiple of the input.
	MaxGrowth = 8
)

// Options say how to instrument.
type Options struct {
	// TickEvery is the fuel that an instance starts with, and so, if the host
	// adds the same at every tick, the fuel between ticks. Default 100,000.
	TickEvery int64
}

// Info describes the original module and what was added to it.
type Info struct {
	// FuelGlobal is the exported name of the mutable i64 counter.
	FuelGlobal string
	// TickModule and TickName name the import that the host provides.
	TickModule, TickName string
	// Functions counts the functions that the module defines, Checks the
	// places that may call tick.
	Functions, Checks int
	Imports           []Import
	Exports           []Export
	// Memories has at most one element.
	Memories []Memory
}

// Import is a function that the module needs. Kind is always "function".
// Signature reads "(i32, i64) -> (i32)".
type Import struct{ Module, Name, Kind, Signature string }

// Export is what the module offers. Kind is "function", "table", "memory" or
// "global"; Signature is set for functions.
type Export struct{ Name, Kind, Signature string }

// Memory holds a memory's declared limits in pages of 64 KiB. MaxPages counts
// only where Bounded.
type Memory struct {
	MinPages, MaxPages uint32
	Bounded            bool
}

// Instrument returns module with metering added. The input is not changed and
// may be hostile: what is malformed or outside WebAssembly 2.0 is an error.
// Types are not checked; the runtime that compiles the output does that, and
// no index that is invalid in the input becomes valid in the output.
func Instrument(input []byte, o Options) (out []byte, info *Info, err error) {
	if o.TickEvery == 0 {
		o.TickEvery = 100_000
	}
	if o.TickEvery < 0 {
		return nil, nil, fmt.Errorf("instrument module: TickEvery %d is negative", o.TickEvery)
	}
	m, err := decode(input)
	if err != nil {
		return nil, nil, fmt.Errorf("instrument module: %w", err)
	}
	m.share = o.TickEvery / 10
	info = &Info{
		FuelGlobal: FuelGlobal, TickModule: TickModule, TickName: TickName,
		Functions: len(m.bodies), Imports: m.imports, Exports: m.exports, Memories: m.memories,
	}
	if out, err = m.encode(o, info, MaxGrowth*len(input)+1<<16); err != nil {
		return nil, nil, fmt.Errorf("instrument module: %w", err)
	}
	return out, info, nil
}

// Inspect describes a module without changing it. The input may be hostile, as
// that of Instrument; function bodies are not looked at.
func Inspect(input []byte) (*Info, error) {
	m, err := decode(input)
	if err != nil {
		return nil, fmt.Errorf("inspect module: %w", err)
	}
	return &Info{Functions: len(m.bodies), Imports: m.imports, Exports: m.exports, Memories: m.memories}, nil
}

var errGrowth = errors.New("the instrumented module would be too large: it has far more loops than code in them")

// encode writes the new module, of at most limit bytes.
func (m *module) encode(o Options, info *Info, limit int) ([]byte, error) {
	globals, err := m.relocateGlobals(o.TickEvery)
	if err != nil {
		return nil, err
	}
	start, err := m.relocateStart()
	if err != nil {
		return nil, err
	}
	elements, err := m.relocateElements()
	if err != nil {
		return nil, err
	}
	code, err := m.meterBodies(info, limit)
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(code)+len(elements)+len(m.sections[sectionData])+1<<16), magic...)
	out = appendSection(out, sectionType, m.typesWithTick())
	out = appendSection(out, sectionImport, m.importsWithTick())
	out = appendSection(out, sectionFunction, m.sections[sectionFunction])
	out = appendSection(out, sectionTable, m.sections[sectionTable])
	out = appendSection(out, sectionMemory, m.sections[sectionMemory])
	out = appendSection(out, sectionGlobal, globals)
	out = appendSection(out, sectionExport, m.relocateExports())
	out = appendSection(out, sectionStart, start)
	out = appendSection(out, sectionElement, elements)
	out = appendSection(out, sectionDataCount, m.sections[sectionDataCount])
	out = appendSection(out, sectionCode, code)
	out = appendSection(out, sectionData, m.sections[sectionData])
	return appendSection(out, sectionCustom, m.relocateNames()), nil
}

// typesWithTick adds the type () -> () at the end.
func (m *module) typesWithTick() []byte {
	out := appendU32(nil, uint32(len(m.types))+1)
	out = append(out, vector(m.sections[sectionType])...)
	return append(out, 0x60, 0, 0)
}

// importsWithTick adds the tick function at the end.
func (m *module) importsWithTick() []byte {
	out := appendU32(nil, uint32(len(m.imports))+1)
	out = append(out, vector(m.sections[sectionImport])...)
	out = appendName(appendName(out, TickModule), TickName)
	return appendU32(append(out, 0), uint32(len(m.types)))
}

// vector returns the elements of a section without their count.
func vector(body []byte) []byte {
	r := &reader{b: body}
	if len(body) > 0 {
		r.u32()
	}
	return body[r.pos:]
}
