package meter

func (w *writer) op(op byte, index uint32) { w.out = appendU32(append(w.out, op), index) }

func (w *writer) global(op byte) { w.op(op, uint32(w.m.globals)) }

// get pushes what is charged to: the local, or the counter itself.
func (w *writer) get() {
	if w.self.loops {
		w.op(opLocalGet, w.share)
	} else {
		w.global(opGlobalGet)
	}
}

// set pops it.
func (w *writer) set() {
	if w.self.loops {
		w.op(opLocalSet, w.share)
	} else {
		w.global(opGlobalSet)
	}
}

// settle takes what was charged to the local off the counter, and gives the
// local a new share. Calls need it only where the callee looks at the counter
// when it is entered: what each function holds back is little.
func (w *writer) settle() {
	if !w.self.loops {
		return
	}
	w.global(opGlobalGet)
	w.op(opLocalGet, w.share)
	w.out = append(appendSigned(append(w.out, opI64Const), w.m.share), opI64Sub, opI64Add)
	w.global(opGlobalSet)
	w.giveShare()
}

// leave is what a function with loops does before it ends, so that a loop that
// calls others with loops needs no look of its own.
func (w *writer) leave() {
	if w.self.loops {
		w.check()
	}
}

func (w *writer) giveShare() {
	w.out = appendSigned(append(w.out, opI64Const), w.m.share)
	w.op(opLocalSet, w.share)
}

// charge takes weight off.
func (w *writer) charge(weight int64) {
	w.get()
	w.out = append(appendSigned(append(w.out, opI64Const), weight), opI64Sub)
	w.set()
}

// check settles and calls tick if the counter is spent.
func (w *writer) check() {
	w.settle()
	w.checkCounter()
}

func (w *writer) checkCounter() {
	w.global(opGlobalGet)
	w.out = append(w.out, opI64Const, 0, opI64LtS, opIf, blockEmpty)
	w.op(opCall, w.m.tickIndex())
	w.out = append(w.out, opEnd)
	w.checks++
}

// head is the check of a loop head: the body becomes the arm of an if, and the
// other arm, behind the loop in the machine code, ticks.
func (w *writer) head(l *loop, blockType []byte) {
	if l.hasInput {
		w.get()
		w.out = append(w.out, opI64Const, 0, opI64LtS, opIf, blockEmpty)
		w.check()
		w.out = append(w.out, opEnd)
		return
	}
	w.get()
	w.out = append(w.out, opI64Const, 0, opI64GeS, opIf)
	w.out = append(w.out, blockType...)
	w.depth++
	w.open[len(w.open)-1].loop = l
}

// startOver is the arm that ticks. A call inside a loop makes wazero's
// register allocator store every variable that the loop carries from round to
// round, in every round, for it is live across the call. So the tick copies
// these variables first and then starts the loop over: the variables
// themselves end at the copies, and the rounds that do not tick pay nothing.
// A variable that the loop sets before it reads it must not be copied, for
// that would make it live at the head and take a register. The order of the
// text decides; where that is wrong the program is slower, not different.
func (w *writer) startOver(l *loop) {
	for _, u := range l.used {
		if u.read && u.set {
			w.renew(u.local)
		}
	}
	w.check()
	w.op(opBr, 1)
}

// renew gives local x a new definition of the same value.
func (w *writer) renew(x uint32) {
	var same []byte
	switch w.locals.typ(x) {
	case 0x7f:
		same = []byte{opI32Or}
	case 0x7e:
		same = []byte{opI64Or}
	case 0x7d:
		same = []byte{opF32Copysign}
	case 0x7c:
		same = []byte{opF64Copysign}
	case 0x7b:
		same = []byte{opPrefixSIMD, 0x50} // v128.or
	default:
		return
	}
	w.op(opLocalGet, x)
	w.op(opLocalGet, x)
	w.out = append(w.out, same...)
	w.op(opLocalSet, x)
}

// bulk charges the length on top of the stack.
func (w *writer) bulk(code uint32) {
	w.op(opLocalTee, w.length)
	w.get()
	w.op(opLocalGet, w.length)
	w.out = append(w.out, opI64ExtendU)
	if code <= miscMemoryFill {
		w.out = append(w.out, opI64Const, bulkShift, opI64ShrU)
	}
	w.out = append(w.out, opI64Sub)
	w.set()
	if w.bulks++; w.bulks%bulkChecks == 0 {
		w.check()
	}
}
