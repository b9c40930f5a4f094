package meter

import "strings"

func (m *module) readTypes(r *reader) {
	n := r.count("type")
	for range n {
		if form := r.byte(); form != 0x60 {
			r.fail("type form %#x is not a function type", form)
			return
		}
		var s signature
		s.params = readValueTypes(r)
		s.results = readValueTypes(r)
		m.types = append(m.types, s)
	}
}

// maxValues bounds the parameters and the results of one function.
const maxValues = 1000

func readValueTypes(r *reader) []byte {
	n := r.count("value type")
	if n > maxValues {
		r.fail("a function has %d parameters or results, more than %d", n, maxValues)
		return nil
	}
	types := r.take(uint32(n))
	for _, t := range types {
		checkValueType(r, t)
	}
	return types
}

var valueTypeNames = map[byte]string{0x7f: "i32", 0x7e: "i64", 0x7d: "f32", 0x7c: "f64", 0x7b: "v128", 0x70: "funcref", 0x6f: "externref"}

func checkValueType(r *reader, t byte) {
	if _, ok := valueTypeNames[t]; !ok {
		r.fail("value type %#x is not part of WebAssembly 2.0", t)
	}
}

func checkRefType(r *reader, t byte) {
	if t != 0x70 && t != 0x6f {
		r.fail("reference type %#x is not part of WebAssembly 2.0", t)
	}
}

func valueNames(types []byte) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = valueTypeNames[t]
	}
	return strings.Join(names, ", ")
}

// readImports takes functions only: an imported memory, table or global would
// be shared with the host, and no host of ours offers one.
func (m *module) readImports(r *reader) {
	n := r.count("import")
	for range n {
		imp := Import{Module: r.name(), Name: r.name()}
		if kind := r.byte(); kind != 0 && r.err == nil {
			r.fail("import %q.%q is a %s; only functions can be imported", imp.Module, imp.Name, kindName(kind))
		}
		t := r.u32()
		m.checkIndex(r, "type", t, len(m.types))
		if r.err != nil {
			return
		}
		if imp.Module == TickModule {
			r.fail("import of module %q is reserved to the host", TickModule)
			return
		}
		imp.Kind, imp.Signature = kindName(0), m.types[t].String()
		m.imports = append(m.imports, imp)
		m.functions = append(m.functions, t)
	}
}

func kindName(kind byte) string {
	switch kind {
	case 0:
		return "function"
	case 1:
		return "table"
	case 2:
		return "memory"
	case 3:
		return "global"
	}
	return "tag"
}

func (m *module) checkIndex(r *reader, what string, i uint32, n int) {
	if uint64(i) >= uint64(n) {
		r.fail("%s index %d is out of range (there are %d)", what, i, n)
	}
}

func (m *module) readFunctions(r *reader) {
	n := r.count("function")
	for range n {
		t := r.u32()
		m.checkIndex(r, "type", t, len(m.types))
		m.functions = append(m.functions, t)
	}
}

// readTables rewrites the section on the way: every table gets a maximum, for
// its entries lie in the host's heap, outside the memory cap.
func (m *module) readTables(r *reader) {
	m.tables = r.count("table")
	if m.tables > MaxTables {
		r.fail("%d tables are more than %d", m.tables, MaxTables)
		return
	}
	out := appendU32(nil, uint32(m.tables))
	for range m.tables {
		t := r.byte()
		checkRefType(r, t)
		least, most, bounded := readLimits(r)
		if least > MaxTableEntries {
			r.fail("a table of %d entries is larger than %d", least, MaxTableEntries)
		}
		if !bounded || most > MaxTableEntries {
			most = MaxTableEntries
		}
		out = append(out, t, 1)
		out = appendU32(appendU32(out, least), most)
	}
	m.sections[sectionTable] = out
}

func readLimits(r *reader) (least, most uint32, bounded bool) {
	switch flag := r.byte(); flag {
	case 0:
		return r.u32(), 0, false
	case 1:
		least, most = r.u32(), r.u32()
		if most < least {
			r.fail("maximum %d is less than minimum %d", most, least)
		}
		return least, most, true
	case 2, 3:
		r.fail("shared memories (threads) are not supported")
	default:
		r.fail("limits flag %#x is not part of WebAssembly 2.0", flag)
	}
	return 0, 0, false
}

func (m *module) readMemories(r *reader) {
	n := r.count("memory")
	if n > 1 {
		r.fail("%d memories are declared; at most one is supported", n)
		return
	}
	for range n {
		var memory Memory
		memory.MinPages, memory.MaxPages, memory.Bounded = readLimits(r)
		if memory.MinPages > 65536 || memory.MaxPages > 65536 {
			r.fail("memory limits exceed 65536 pages")
		}
		m.memories = append(m.memories, memory)
	}
}

func (m *module) readExports(r *reader) {
	n := r.count("export")
	for range n {
		e := Export{Name: r.name()}
		kind, index := r.byte(), r.u32()
		e.Kind = kindName(kind)
		switch kind {
		case 0:
			m.checkIndex(r, "exported function", index, len(m.functions))
			if r.err == nil {
				e.Signature = m.types[m.functions[index]].String()
			}
		case 1:
			m.checkIndex(r, "exported table", index, m.tables)
		case 2:
			m.checkIndex(r, "exported memory", index, len(m.memories))
		case 3:
			m.checkIndex(r, "exported global", index, m.globals)
		default:
			r.fail("export %q has unknown kind %#x", e.Name, kind)
		}
		if e.Name == FuelGlobal {
			r.fail("export %q is reserved to the host", FuelGlobal)
		}
		if r.err != nil {
			return
		}
		m.exports = append(m.exports, e)
	}
}

func (m *module) readBodies(r *reader) {
	n := r.count("function body")
	for range n {
		m.bodies = append(m.bodies, r.take(r.u32()))
	}
}

// readData only bounds the segments; they are copied as they are.
func (m *module) readData(r *reader) {
	m.datas = r.count("data segment")
	for range m.datas {
		switch flag := r.u32(); flag {
		case 0:
			m.constant(r, nil)
		case 1:
		case 2:
			m.checkIndex(r, "memory", r.u32(), len(m.memories))
			m.constant(r, nil)
		default:
			r.fail("data segment flag %d is unknown", flag)
		}
		r.skip(r.u32())
		if r.err != nil {
			return
		}
	}
}
