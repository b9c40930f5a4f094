package meter

import "slices"

// Weights in units of fuel, one unit being about one simple instruction.
const (
	weightGrow = 100 // memory.grow leaves to the host
	weightCall = 5   // of a call whose callee is not known or charges for itself
	// bulkShift: a bulk memory operation is charged its length over 16 beside
	// its own unit, a bulk table operation its length.
	bulkShift = 4
)

const (
	// mostLight is the weight up to which the callers of a function without
	// loops and bulk operations are charged for it.
	mostLight = 64
	// longRun is the weight after which straight code looks at the counter.
	longRun = 5_000
	// bulkChecks is how many bulk operations may follow each other, in the
	// text of a function, before one looks at the counter.
	bulkChecks = 4
	// mostMerged bounds what one run is charged for code that may be left out, and
	// how many runs are looked at for it.
	mostMerged = 32
)

// run is a stretch of code that is entered at its beginning only, and is
// charged there. Branches may leave it early: a run may be charged in full
// and executed in part.
type run struct {
	pos    int // of its first instruction in the body
	weight int64
	merged int64 // the part of weight that is of runs behind it, which may be left out
	check  bool  // look at the counter here too
	loops  int   // how many loops are open around it
}

// loop is what the check at the head of a loop must know.
type loop struct {
	// used lists the locals of the loop by first use, at most maxUsed of them.
	used     []use
	hasInput bool // the loop takes operands
}

// use is how a loop uses a local: whether it reads it first, in the order of
// the text, and whether it sets it at all.
type use struct {
	local     uint32
	read, set bool
}

const maxUsed = 64

func (l *loop) use(u use) {
	for i := range l.used {
		if l.used[i].local == u.local {
			l.used[i].set = l.used[i].set || u.set
			return
		}
	}
	if len(l.used) < maxUsed {
		l.used = append(l.used, u)
	}
}

// frame is an open block.
type frame struct {
	op       byte
	targeted bool // some branch leads to its end
	loop     int  // index of the loop, for opLoop
	before   int  // the run that leads into it, -1 in dead code
	first    int  // the first run that begins inside
	out      int  // the outermost block, counted from outside, that a branch inside leads to
}

// shape is what the scan of a function body finds out.
type shape struct {
	runs  []run
	loops []loop
	calls []uint32 // the functions of the module that it calls, once for each place
	bulks int64    // bulk operations
	asks  bool     // it calls what is not known here: through a table, or the host
}

// weight is that of the whole text, each loop taken once.
func (s *shape) weight() (total int64) {
	for _, r := range s.runs {
		total += r.weight
	}
	return total
}

// scanner walks over one body.
type scanner struct {
	m      *module
	r      *reader
	shape  shape
	frames []frame
	loops  []int // open loops
	run    int   // current
	dead   bool  // behind an unconditional branch
}

// scan finds the runs and loops of the instructions in r. Without functions it
// takes every callee for one that charges for itself.
func (m *module) scan(r *reader, locals int, functions []function) *shape {
	s := &scanner{m: m, r: r, run: -1}
	s.frames = append(s.frames, frame{})
	s.start()
	for len(s.frames) > 0 && r.err == nil {
		s.step(locals, functions)
	}
	if r.err == nil && !r.done() {
		r.fail("%d bytes follow the end of the function", r.left())
	}
	return &s.shape
}

// start begins a run at the current position.
func (s *scanner) start() {
	s.shape.runs = append(s.shape.runs, run{pos: s.r.pos, loops: len(s.loops)})
	s.run = len(s.shape.runs) - 1
}

// add charges an instruction that has been read to its end.
func (s *scanner) add(weight int64) {
	if s.dead {
		return
	}
	r := &s.shape.runs[s.run]
	r.weight += weight
	if r.weight > longRun {
		r.check = true
		s.start()
	}
}

// step reads one instruction.
func (s *scanner) step(locals int, functions []function) {
	r := s.r
	switch op := r.byte(); op {
	case opBlock, opLoop, opIf:
		s.open(op, s.m.blockInputs(r))
	case opElse:
		s.alternate()
	case opEnd:
		s.close()
	case opBr, opBrIf:
		s.target(r.u32())
		s.add(1)
		s.dead = s.dead || op == opBr
	case opBrTable:
		for range r.count("branch target") + 1 {
			s.target(r.u32())
		}
		s.add(2)
		s.dead = true
	case opReturn:
		if !s.dead {
			s.leave(0)
		}
		s.add(1)
		s.dead = true
	case opUnreachable:
		s.add(1)
		s.dead = true
	case opCall:
		f := r.u32()
		s.m.checkIndex(r, "function", f, len(s.m.functions))
		if r.err == nil {
			s.call(functions, int(f)-len(s.m.imports))
		}
	case opCallIndirect:
		s.m.checkIndex(r, "type", r.u32(), len(s.m.types))
		s.m.checkIndex(r, "table", r.u32(), s.m.tables)
		s.call(nil, -1)
	case opLocalGet, opLocalSet, opLocalTee:
		x := r.u32()
		s.m.checkIndex(r, "local", x, locals)
		if n := len(s.loops); n > 0 {
			get := op == opLocalGet
			s.shape.loops[s.loops[n-1]].use(use{local: x, read: get, set: !get})
		}
		s.add(1)
	default:
		s.add(s.m.operands(r, op, &s.shape))
	}
}

// call charges a call, of a function of the module unless defined is negative.
func (s *scanner) call(functions []function, defined int) {
	if defined < 0 {
		s.shape.asks = true
	} else if s.shape.calls = append(s.shape.calls, uint32(defined)); functions != nil && functions[defined].light {
		s.add(1 + functions[defined].weight)
		return
	}
	s.add(weightCall)
}

func (s *scanner) open(op byte, inputs int) {
	if len(s.frames) > MaxNesting {
		s.r.fail("blocks are nested more than %d deep", MaxNesting)
		return
	}
	if op == opIf {
		s.add(1)
	}
	f := frame{op: op, before: s.run, out: len(s.frames), first: len(s.shape.runs)}
	if s.dead {
		f.before = -1
	}
	if op == opLoop {
		f.loop = len(s.shape.loops)
		s.loops = append(s.loops, f.loop)
		s.shape.loops = append(s.shape.loops, loop{hasInput: inputs > 0})
		s.start()
	} else if op == opIf {
		s.start()
	}
	s.frames = append(s.frames, f)
}

func (s *scanner) alternate() {
	f := &s.frames[len(s.frames)-1]
	if f.op != opIf {
		s.r.fail("else without if")
		return
	}
	f.op = opElse
	f.targeted = f.targeted || !s.dead
	s.dead = false
	s.start()
}

func (s *scanner) close() {
	f := s.frames[len(s.frames)-1]
	s.frames = s.frames[:len(s.frames)-1]
	s.leave(f.out)
	merged := s.merge(f)
	if f.op == opLoop {
		s.loops = s.loops[:len(s.loops)-1]
		if n := len(s.loops); n > 0 {
			for _, u := range s.shape.loops[f.loop].used {
				s.shape.loops[s.loops[n-1]].use(u)
			}
		}
	}
	joins := f.targeted || f.op == opIf
	if (f.op == opLoop || merged) && !s.dead || joins {
		s.dead = s.dead && !joins
		s.follow(f)
	}
}

// follow begins the run behind a block. Where every way through the block comes
// to its end, what follows it is executed as often as what led into it, and is
// charged there.
func (s *scanner) follow(f frame) {
	if f.before < 0 || f.out < len(s.frames) {
		s.start()
		return
	}
	s.run = f.before
}

// merge charges the runs that begin in a block, and in no loop inside it, with
// the run that leads into it, if they are short enough together. To charge a
// few instructions that are left out costs less than to count them. A loop,
// and a function, has no run before it that is executed as often: there the
// first run inside takes the others.
func (s *scanner) merge(f frame) bool {
	into, first := f.before, f.first
	if f.op == opLoop || len(s.frames) == 0 {
		into, first = f.first, f.first+1
	}
	if n := len(s.shape.runs) - first; into < 0 || n <= 0 || n > mostMerged {
		return false
	}
	inside := func(r run) bool { return r.loops == len(s.loops) }
	var weight int64
	for _, r := range s.shape.runs[first:] {
		if inside(r) {
			weight += r.weight
		}
	}
	to := &s.shape.runs[into]
	if to.merged+weight > mostMerged {
		return false
	}
	to.weight += weight
	to.merged += weight
	s.shape.runs = append(s.shape.runs[:first], slices.DeleteFunc(s.shape.runs[first:], inside)...)
	return true
}

// leave notes for the innermost block a branch to block i, counted from outside.
func (s *scanner) leave(i int) {
	if n := len(s.frames); n > 0 {
		s.frames[n-1].out = min(s.frames[n-1].out, i)
	}
}

// target notes a branch to the block depth levels out.
func (s *scanner) target(depth uint32) {
	s.m.checkIndex(s.r, "label", depth, len(s.frames))
	if s.r.err != nil || s.dead {
		return
	}
	at := len(s.frames) - 1 - int(depth)
	if f := &s.frames[at]; f.op != opLoop {
		f.targeted = true
	}
	s.leave(at)
}

// blockInputs reads a block type and returns how many operands it takes.
func (m *module) blockInputs(r *reader) int {
	if r.pos < len(r.b) {
		if c := r.b[r.pos]; c == blockEmpty || valueTypeNames[c] != "" {
			r.pos++
			return 0
		}
	}
	t := r.signed(33)
	if t < 0 || t >= int64(len(m.types)) {
		r.fail("block type %d is out of range", t)
		return 0
	}
	return len(m.types[t].params)
}

// operands reads what follows op and returns its weight.
func (m *module) operands(r *reader, op byte, s *shape) int64 {
	weight := int64(1)
	kind := plain[op]
	code := uint32(op)
	if op == opPrefixMisc {
		if code = r.u32(); code < uint32(len(misc)) {
			kind = misc[code]
		} else {
			kind = immUnknown
		}
	} else if op == opPrefixSIMD {
		if code = r.u32(); code < uint32(len(simd)) {
			kind = simd[code]
		} else {
			kind = immUnknown
		}
	}
	switch kind {
	case immNone:
	case immIndex:
		i := r.u32()
		if op == opGlobalGet || op == opGlobalSet {
			m.checkIndex(r, "global", i, m.globals)
		}
	case immMemory:
		r.u32()
		r.u32()
	case immMemLane:
		r.u32()
		r.u32()
		r.byte()
	case immByte:
		r.byte()
		if op == opMemoryGrow {
			weight = weightGrow
		}
	case immI32:
		r.signed(32)
	case immI64:
		r.signed(64)
	case immBytes4:
		r.skip(4)
	case immBytes8:
		r.skip(8)
	case immBytes16:
		r.skip(16)
	case immSelect:
		readValueTypes(r)
	case immRefType:
		checkRefType(r, r.byte())
	case immBulkFill:
		r.u32()
		s.bulks++
	case immBulkCopy:
		r.u32()
		r.u32()
		s.bulks++
	default:
		if op == opRefFunc {
			m.moved(r, r.u32())
			return weight
		}
		r.fail("%s instruction %#x %#x is not supported", refused(op), op, code)
	}
	return weight
}
