package meter_test

// Types of the functions that assemble takes.
const (
	typeVoid = iota // () -> ()
	typeI32         // (i32) -> (i32)
	typeTwo         // (i32, i32) -> (i32, i32)
	typeI64         // (i64) -> (i64)
)

var typeSection = []byte("\x04\x60\x00\x00\x60\x01\x7f\x01\x7f\x60\x02\x7f\x7f\x02\x7f\x7f\x60\x01\x7e\x01\x7e")

// function is a body without its final end; locals are groups as they stand
// in the binary format, with their count.
type function struct {
	typ    byte
	locals string
	code   string
}

type section struct {
	id   byte
	body []byte
}

func leb(n int) []byte {
	var b []byte
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func sized(b []byte) []byte { return append(leb(len(b)), b...) }

func link(sections ...section) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range sections {
		out = append(append(out, s.id), sized(s.body)...)
	}
	return out
}

// parts are the sections of a module with the given functions, exported as f0,
// f1 and so on, a memory of one page up to 16, a table that holds all the
// functions, an i64 global that can be set, and one passive data segment.
func parts(functions ...function) []section {
	n := byte(len(functions))
	types, exports, code := []byte{n}, []byte{n}, []byte{n}
	elements := []byte{1, 0, 0x41, 0, 0x0b, n}
	for i, f := range functions {
		types = append(types, f.typ)
		exports = append(exports, 2, 'f', '0'+byte(i), 0, byte(i))
		elements = append(elements, byte(i))
		locals := f.locals
		if locals == "" {
			locals = "\x00"
		}
		code = append(code, sized([]byte(locals+f.code+"\x0b"))...)
	}
	return []section{
		{1, typeSection}, {3, types}, {4, []byte("\x01\x70\x00\x10")}, {5, []byte("\x01\x01\x01\x10")},
		{6, []byte("\x01\x7e\x01\x42\x00\x0b")}, {7, exports}, {9, elements}, {12, []byte{1}}, {10, code}, {11, []byte("\x01\x01\x04data")},
	}
}

func assemble(functions ...function) []byte { return link(parts(functions...)...) }
