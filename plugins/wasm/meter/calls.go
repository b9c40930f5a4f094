package meter

import "fmt"

const (
	// longWay is the weight up to which a call may go on without a look at the
	// counter, the calls that it makes included; a function with a longer way
	// looks where it is entered, and past longestWay before every call.
	longWay    = 10_000
	longestWay = 1_000_000
	// weightBulk stands for a bulk operation there, whose length is not known.
	weightBulk = longestWay / bulkChecks
)

// function is what the survey finds out of a function of the module.
type function struct {
	weight int64 // of its text, and of the light functions that it calls
	// light: without loops, bulk operations and calls of what is not known
	// here, and so short that its direct callers are charged for it.
	light bool
	// It looks at the counter where it is entered (looks), before every call
	// that it makes (long), where it ends (loops, for it has some).
	looks, long, loops bool

	calls []uint32
	state state
	way   int64 // the weight of a call without a look
}

type state uint8

const (
	unseen state = iota
	entered
	left
)

// survey scans every body once and decides which functions look at the counter.
// What goes on for ever or for long passes loop heads, ends of functions with
// loops, and calls of the host or through a table, which all look, or comes
// back to a function by direct calls alone: the one where the way closes looks
// where it is entered, and so does each that can take a long way through others.
func (m *module) survey() ([]function, error) {
	functions := make([]function, len(m.bodies))
	for i, body := range m.bodies {
		r := &reader{b: body}
		l := readLocals(r, m.types[m.functions[len(m.imports)+i]].params)
		s := m.scan(r, l.count, nil)
		if r.err != nil {
			return nil, fmt.Errorf("read function %d: %w", len(m.imports)+i, r.err)
		}
		f := &functions[i]
		f.weight, f.calls = s.weight(), s.calls
		f.loops = len(s.loops) > 0
		f.light = !f.loops && s.bulks == 0 && !s.asks
		f.way = f.weight + s.bulks*weightBulk
	}
	type step struct{ function, next int }
	var path []step
	for i := range functions {
		if functions[i].state != unseen {
			continue
		}
		functions[i].state = entered
		for path = append(path, step{function: i}); len(path) > 0; {
			at := &path[len(path)-1]
			f := &functions[at.function]
			if at.next == len(f.calls) {
				f.leave()
				path = path[:len(path)-1]
				if len(path) > 0 {
					functions[path[len(path)-1].function].passes(f)
				}
				continue
			}
			callee := int(f.calls[at.next])
			at.next++
			switch c := &functions[callee]; c.state {
			case unseen:
				c.state = entered
				path = append(path, step{function: callee})
			case entered:
				c.looks = true
			case left:
				f.passes(c)
			}
		}
	}
	return functions, nil
}

// passes adds the way through a callee.
func (f *function) passes(callee *function) {
	if callee.light {
		f.weight += callee.weight - weightCall + 1
	}
	if !callee.looks && !callee.loops {
		f.way = min(f.way+callee.way, longestWay+1)
	}
}

// leave decides when all callees are known.
func (f *function) leave() {
	f.state, f.calls = left, nil
	f.looks = f.looks || f.way > longWay
	f.long = f.way > longestWay
	f.light = f.light && !f.looks && f.weight <= mostLight
}
