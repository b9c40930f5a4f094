package meter

import (
	"bytes"
	"errors"
	"fmt"
)

// Section identifiers of the binary format.
const (
	sectionCustom = iota
	sectionType
	sectionImport
	sectionFunction
	sectionTable
	sectionMemory
	sectionGlobal
	sectionExport
	sectionStart
	sectionElement
	sectionCode
	sectionData
	sectionDataCount
)

// sectionOrder is the order in which the sections must stand.
var sectionOrder = [...]int{sectionType: 1, sectionImport: 2, sectionFunction: 3, sectionTable: 4, sectionMemory: 5, sectionGlobal: 6,
	sectionExport: 7, sectionStart: 8, sectionElement: 9, sectionDataCount: 10, sectionCode: 11, sectionData: 12}

// module is the input, decoded as far as the rewriter needs it.
type module struct {
	sections  [13][]byte // raw bodies; nil where absent
	names     []byte     // body of the name section after its name
	types     []signature
	imports   []Import
	functions []uint32 // type of every function, imported ones first
	tables    int
	globals   int
	memories  []Memory
	exports   []Export
	elements  int
	datas     int // from the data section
	bodies    [][]byte
	share     int64 // what a function with loops charges to a local before it settles with the counter
}

// signature is a function type as value type bytes.
type signature struct{ params, results []byte }

func (s signature) String() string {
	return "(" + valueNames(s.params) + ") -> (" + valueNames(s.results) + ")"
}

var magic = []byte("\x00asm\x01\x00\x00\x00")

// split cuts the module into sections and refuses a wrong order, and trailing bytes.
func split(b []byte) (*module, error) {
	if len(b) > MaxModuleBytes {
		return nil, fmt.Errorf("module of %d bytes is larger than the limit of %d", len(b), MaxModuleBytes)
	}
	if bytes.HasPrefix(b, []byte("\x00asm\x0d\x00\x01\x00")) {
		return nil, errors.New("this is a component; a core WebAssembly module is needed")
	}
	if !bytes.HasPrefix(b, magic) {
		return nil, errors.New("not a WebAssembly 1 or 2 core module")
	}
	m := &module{}
	r := &reader{b: b, pos: len(magic)}
	last := 0
	for !r.done() {
		id := r.byte()
		body := r.take(r.u32())
		if r.err != nil {
			return nil, fmt.Errorf("read section %d: %w", id, r.err)
		}
		if id == sectionCustom {
			custom := &reader{b: body}
			if custom.name() == "name" && custom.err == nil && m.names == nil {
				m.names = custom.b[custom.pos:]
			}
			if custom.err != nil {
				return nil, fmt.Errorf("read custom section: %w", custom.err)
			}
			continue
		}
		if id > sectionDataCount {
			return nil, fmt.Errorf("section %d is not part of WebAssembly 2.0 (exception handling?)", id)
		}
		if sectionOrder[id] <= last {
			return nil, fmt.Errorf("section %d is repeated or out of order", id)
		}
		last = sectionOrder[id]
		m.sections[id] = body[:len(body):len(body)]
		if m.sections[id] == nil {
			m.sections[id] = []byte{}
		}
	}
	return m, nil
}

// decode reads every section whose contents the rewriter depends on.
func decode(b []byte) (*module, error) {
	m, err := split(b)
	if err != nil {
		return nil, err
	}
	for _, s := range []struct {
		id   int
		name string
		read func(*reader)
	}{
		{sectionType, "type", m.readTypes},
		{sectionImport, "import", m.readImports},
		{sectionFunction, "function", m.readFunctions},
		{sectionTable, "table", m.readTables},
		{sectionMemory, "memory", m.readMemories},
		{sectionGlobal, "global", func(r *reader) { m.globals = r.count("global") }},
		{sectionExport, "export", m.readExports},
		{sectionElement, "element", func(r *reader) { m.elements = r.count("element") }},
		{sectionCode, "code", m.readBodies},
		{sectionData, "data", m.readData},
	} {
		body := m.sections[s.id]
		if body == nil {
			continue
		}
		r := &reader{b: body}
		s.read(r)
		partial := s.id == sectionGlobal || s.id == sectionElement // the rest is read when it is rewritten
		if r.err == nil && !partial && !r.done() {
			r.fail("%d bytes are left over", r.left())
		}
		if r.err != nil {
			return nil, fmt.Errorf("read %s section: %w", s.name, r.err)
		}
	}
	if defined := len(m.functions) - len(m.imports); defined != len(m.bodies) {
		return nil, fmt.Errorf("%d functions are declared but %d have code", defined, len(m.bodies))
	}
	return m, nil
}
