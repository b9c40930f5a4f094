package meter

import (
	"fmt"
)

// The import of the tick function goes behind the module's own imports, so it
// takes the index of the first function that the module defines, and every
// defined function moves up by one. The functions below copy a section while
// they move the indices in it.

// tickIndex is the index of the tick function in the new module.
func (m *module) tickIndex() uint32 { return uint32(len(m.imports)) }

// moved returns the new index of function i.
func (m *module) moved(r *reader, i uint32) uint32 {
	m.checkIndex(r, "function", i, len(m.functions))
	if i >= m.tickIndex() {
		return i + 1
	}
	return i
}

// constant copies a constant expression to out.
func (m *module) constant(r *reader, out []byte) []byte {
	for r.err == nil {
		from := r.pos
		op := r.byte()
		switch op {
		case opEnd:
			return append(out, op)
		case opI32Const:
			r.signed(32)
		case opI64Const:
			r.signed(64)
		case 0x43:
			r.skip(4)
		case 0x44:
			r.skip(8)
		case opGlobalGet:
			m.checkIndex(r, "global", r.u32(), m.globals)
		case opRefNull:
			checkRefType(r, r.byte())
		case opRefFunc:
			out = appendU32(append(out, op), m.moved(r, r.u32()))
			continue
		case opPrefixSIMD:
			if r.u32() != 0x0c {
				r.fail("vector instruction in a constant expression")
			}
			r.skip(16)
		default:
			r.fail("opcode %#x in a constant expression", op)
		}
		out = append(out, r.b[from:r.pos]...)
	}
	return out
}

// relocateGlobals copies the globals and adds the fuel counter, set to fuel.
func (m *module) relocateGlobals(fuel int64) ([]byte, error) {
	out := appendU32(nil, uint32(m.globals)+1)
	if body := m.sections[sectionGlobal]; body != nil {
		r := &reader{b: body}
		r.u32()
		for range m.globals {
			t, mutable := r.byte(), r.byte()
			checkValueType(r, t)
			if mutable > 1 {
				r.fail("mutability %#x", mutable)
			}
			out = m.constant(r, append(out, t, mutable))
		}
		if err := finish(r); err != nil {
			return nil, fmt.Errorf("read global section: %w", err)
		}
	}
	out = appendSigned(append(out, 0x7e, 1, opI64Const), fuel)
	return append(out, opEnd), nil
}

func finish(r *reader) error {
	if !r.done() {
		r.fail("%d bytes are left over", r.left())
	}
	return r.err
}

// relocateExports copies the exports and adds the fuel counter.
func (m *module) relocateExports() []byte {
	out := appendU32(nil, uint32(len(m.exports))+1)
	if body := m.sections[sectionExport]; body != nil {
		r := &reader{b: body} // already checked by readExports
		r.u32()
		for range m.exports {
			out = appendName(out, r.name())
			kind, index := r.byte(), r.u32()
			if kind == 0 {
				index = m.moved(r, index)
			}
			out = appendU32(append(out, kind), index)
		}
	}
	out = append(appendName(out, FuelGlobal), 3)
	return appendU32(out, uint32(m.globals))
}

// relocateStart moves the start function.
func (m *module) relocateStart() ([]byte, error) {
	body := m.sections[sectionStart]
	if body == nil {
		return nil, nil
	}
	r := &reader{b: body}
	out := appendU32(nil, m.moved(r, r.u32()))
	if err := finish(r); err != nil {
		return nil, fmt.Errorf("read start section: %w", err)
	}
	return out, nil
}

// relocateElements copies the element segments in their eight layouts.
func (m *module) relocateElements() ([]byte, error) {
	body := m.sections[sectionElement]
	if body == nil {
		return nil, nil
	}
	r := &reader{b: body}
	r.u32()
	out := appendU32(make([]byte, 0, len(body)+len(body)/8), uint32(m.elements))
	for range m.elements {
		out = m.relocateElement(r, out)
		if r.err != nil {
			break
		}
	}
	if err := finish(r); err != nil {
		return nil, fmt.Errorf("read element section: %w", err)
	}
	return out, nil
}

// relocateElement copies one segment. Flag bit 0: passive or declarative, bit
// 1: explicit table (or declarative), bit 2: expressions instead of indices.
func (m *module) relocateElement(r *reader, out []byte) []byte {
	flag := r.u32()
	if flag > 7 {
		r.fail("element segment flag %d is unknown", flag)
		return out
	}
	out = appendU32(out, flag)
	if flag&1 == 0 {
		if flag&2 != 0 {
			table := r.u32()
			m.checkIndex(r, "table", table, m.tables)
			out = appendU32(out, table)
		}
		out = m.constant(r, out)
	}
	expressions := flag&4 != 0
	if flag&3 != 0 {
		kind := r.byte()
		if expressions {
			checkRefType(r, kind)
		} else if kind != 0 {
			r.fail("element kind %#x is unknown", kind)
		}
		out = append(out, kind)
	}
	n := r.count("element")
	out = appendU32(out, uint32(n))
	for range n {
		if expressions {
			out = m.constant(r, out)
		} else {
			out = appendU32(out, m.moved(r, r.u32()))
		}
		if r.err != nil {
			break
		}
	}
	return out
}

// relocateNames keeps the function names, which a trap's stack trace shows,
// and drops the rest. A name section that is not well formed is dropped
// whole: it has no meaning to the program.
func (m *module) relocateNames() []byte {
	r := &reader{b: m.names}
	for !r.done() {
		id := r.byte()
		sub := &reader{b: r.take(r.u32())}
		if id != 1 || r.err != nil {
			continue
		}
		n := sub.count("function name")
		functions := appendU32(nil, uint32(n))
		last := -1
		for range n {
			old := sub.u32()
			index := m.moved(sub, old)
			if int64(old) <= int64(last) {
				sub.fail("function names are out of order")
			}
			last = int(old)
			functions = appendName(appendU32(functions, index), sub.name())
		}
		if finish(sub) != nil {
			return nil
		}
		out := append(appendName(nil, "name"), 1)
		out = appendU32(out, uint32(len(functions)))
		return append(out, functions...)
	}
	return nil
}
