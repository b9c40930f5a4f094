package meter

import "fmt"

// meterBodies returns the new code section.
func (m *module) meterBodies(info *Info, limit int) ([]byte, error) {
	functions, err := m.survey()
	if err != nil {
		return nil, err
	}
	if m.sections[sectionCode] == nil {
		return nil, nil
	}
	size := len(m.sections[sectionCode])
	out := appendU32(make([]byte, 0, size+size/2), uint32(len(m.bodies)))
	w := &writer{m: m, functions: functions}
	for i, body := range m.bodies {
		function := len(m.imports) + i
		if err := w.rewrite(body, m.types[m.functions[function]].params, i); err != nil {
			return nil, fmt.Errorf("read function %d at byte %d of its body: %w", function, w.r.pos, err)
		}
		out = appendU32(out, uint32(len(w.out)))
		out = append(out, w.out...)
		if len(out) > limit {
			return nil, errGrowth
		}
	}
	info.Checks = w.checks
	return out, nil
}

// locals are the parameters and locals of a function.
type locals struct {
	params []byte
	groups []group
	count  int
}

// group is a stretch of locals of one type; the first has index from.
type group struct {
	from int
	typ  byte
}

func readLocals(r *reader, params []byte) locals {
	l := locals{params: params, count: len(params)}
	n := r.count("local group")
	for range n {
		k, t := r.u32(), r.byte()
		checkValueType(r, t)
		if uint64(l.count)+uint64(k) > MaxLocals {
			r.fail("a function has more than %d locals", MaxLocals)
			return l
		}
		l.groups = append(l.groups, group{from: l.count, typ: t})
		l.count += int(k)
	}
	return l
}

// typ returns the type of local x.
func (l *locals) typ(x uint32) byte {
	if int(x) < len(l.params) {
		return l.params[x]
	}
	var t byte
	for _, g := range l.groups {
		if g.from > int(x) {
			break
		}
		t = g.typ
	}
	return t
}

// label is an open block of the input.
type label struct {
	depth uint32 // in the output
	loop  *loop  // a loop whose body became the arm of an if
}

// writer rewrites one function after the other.
type writer struct {
	m         *module
	functions []function
	checks    int

	r      *reader
	out    []byte
	locals locals
	shape  *shape
	loop   int // next loop
	open   []label
	depth  uint32 // open blocks of the output
	bulks  int
	self   *function
	share  uint32 // the local that a function with loops charges to; others charge to the counter
	length uint32 // a local for the length of a bulk operation
}

// rewrite leaves the metered body in w.out.
func (w *writer) rewrite(body, params []byte, defined int) error {
	w.r = &reader{b: body}
	w.locals = readLocals(w.r, params)
	code := w.r.pos
	w.shape = w.m.scan(w.r, w.locals.count, w.functions)
	if w.r.err != nil {
		return w.r.err
	}
	w.out, w.open, w.depth = w.out[:0], append(w.open[:0], label{}), 0
	w.loop, w.bulks = 0, 0
	w.self = &w.functions[defined]
	w.declare(body[:code])
	w.r.pos = code
	if w.self.looks {
		w.checkCounter()
	}
	if w.self.loops {
		w.giveShare()
	}
	w.instructions()
	return w.r.err
}

// declare adds the locals of the meter behind those of the function.
func (w *writer) declare(head []byte) {
	r := &reader{b: head}
	n := r.count("local group")
	w.share = uint32(w.locals.count)
	w.length = w.share + 1
	w.out = appendU32(w.out, uint32(n)+2)
	w.out = append(w.out, head[r.pos:]...)
	w.out = append(w.out, 1, 0x7e, 1, 0x7f)
}

// instructions copies the code, with a charge at the beginning of every run.
func (w *writer) instructions() {
	next := 0
	for !w.r.done() {
		for next < len(w.shape.runs) && w.shape.runs[next].pos == w.r.pos {
			w.begin(&w.shape.runs[next])
			next++
		}
		w.instruction()
	}
	if next < len(w.shape.runs) && w.shape.runs[next].pos < len(w.r.b) {
		panic("meter: a run does not begin at an instruction") // what follows would be free of charge
	}
}

func (w *writer) begin(r *run) {
	if r.weight > 0 && !w.self.light {
		w.charge(r.weight)
	}
	if r.check {
		w.check()
	}
}

func (w *writer) instruction() {
	r := w.r
	from := r.pos
	copied := func() { w.out = append(w.out, r.b[from:r.pos]...) }
	switch op := r.byte(); op {
	case opBlock, opLoop, opIf:
		w.m.blockInputs(r)
		copied()
		w.depth++
		w.open = append(w.open, label{depth: w.depth})
		if op == opLoop {
			w.head(&w.shape.loops[w.loop], r.b[from+1:r.pos])
			w.loop++
		}
	case opEnd:
		w.end()
	case opBr, opBrIf:
		l := w.label(r.u32())
		if l.depth == 0 {
			w.leave()
		}
		w.op(op, w.depth-l.depth)
	case opBrTable:
		w.table()
	case opReturn:
		w.leave()
		copied()
	case opCall:
		w.call(r.u32())
	case opCallIndirect:
		r.u32()
		r.u32()
		w.check()
		copied()
	case opRefFunc:
		w.op(op, w.m.moved(r, r.u32()))
	case opPrefixMisc:
		r.pos = from + 1
		code := r.u32()
		r.pos = from + 1
		w.m.operands(r, op, w.shape)
		if kind := misc[code]; kind == immBulkCopy || kind == immBulkFill {
			w.bulk(code)
		}
		copied()
	case opLocalGet, opLocalSet, opLocalTee:
		r.u32()
		copied()
	default:
		if plain[op] != immNone {
			w.m.operands(r, op, w.shape)
		}
		copied()
	}
}

// label returns the block that is depth blocks out in the input.
func (w *writer) label(depth uint32) label { return w.open[len(w.open)-1-int(depth)] }

// table copies a br_table.
func (w *writer) table() {
	n := w.r.count("branch target")
	from := w.r.pos
	for range n + 1 {
		if w.label(w.r.u32()).depth == 0 {
			w.leave()
			break
		}
	}
	w.r.pos = from
	w.op(opBrTable, uint32(n))
	for range n + 1 {
		w.out = appendU32(w.out, w.depth-w.label(w.r.u32()).depth)
	}
}

// end closes a block, with the arm that ticks where it was a loop.
func (w *writer) end() {
	l := w.open[len(w.open)-1]
	w.open = w.open[:len(w.open)-1]
	if l.loop != nil {
		w.out = append(w.out, opElse)
		w.startOver(l.loop)
		w.out = append(w.out, opEnd)
	}
	if l.depth == 0 {
		w.leave()
	}
	w.depth = l.depth - 1
	w.out = append(w.out, opEnd)
}

// call copies a direct call.
func (w *writer) call(f uint32) {
	defined := int(f) - len(w.m.imports)
	switch {
	case defined < 0 || w.self.long && !w.functions[defined].light:
		w.check()
	case w.functions[defined].looks:
		w.settle()
	}
	w.op(opCall, w.m.moved(w.r, f))
}
