package wasm

import "encoding/binary"

// code is a hand-made plugin: what its exports return and its memory at the
// start. It makes hostile guests of which every byte is known.
type code struct {
	version byte
	alloc   []byte // function bodies without locals and without end
	plan    []byte
	process []byte
	image   image
	pages   byte
	imports [][2]string // of type () -> (), but log
	without string      // an export to leave out
	extra   string      // a further export of type () -> ()
	first   []byte      // its body
}

// Places in the memory of a hand-made plugin.
const (
	replyAt  = 1024
	secondAt = 4096
	allocAt  = 8192
	resultAt = 16384
)

// image is the memory of a hand-made plugin.
type image []byte

func (m image) u32(at int, v uint32) { binary.LittleEndian.PutUint32(m[at:], v) }
func (m image) u64(at int, v uint64) { binary.LittleEndian.PutUint64(m[at:], v) }

// The good result has two rows and one text column.
const (
	rootAt     = resultAt + 64
	columnAt   = rootAt + 64
	buffersAt  = columnAt + 64
	offsetsAt  = buffersAt + 24
	dataAt     = offsetsAt + 24
	childrenAt = dataAt + 24
	errorsAt   = childrenAt + 24
)

// goodImage answers leat_plan with reply and leat_process with two rows.
func goodImage(reply string) image {
	m := make(image, resultAt+4096)
	copy(m[replyAt:], reply)
	m.u32(resultAt+8, 2)
	m.u32(resultAt+12, 1)
	m.u32(resultAt+16, rootAt)
	m.u64(rootAt, 2)
	m.u64(rootAt+24, 1)
	m.u64(rootAt+32, 1)
	m.u32(rootAt+40, buffersAt)
	m.u32(rootAt+44, childrenAt)
	m.u32(childrenAt, columnAt)
	m.u64(columnAt, 2)
	m.u64(columnAt+24, 3)
	m.u32(columnAt+40, buffersAt)
	m.u32(buffersAt+4, offsetsAt)
	m.u32(buffersAt+8, dataAt)
	m.u32(offsetsAt+4, 2)
	m.u32(offsetsAt+8, 5)
	copy(m[dataAt:], "aböc") // a is "ab", b is "öc"
	return m
}

// computes is a plan's reply with one computed text column.
const computes = `{"ok": {"needs": [1], "computed": ["u"], "filters": true, "outputs": [{"table": {"database": "d", "schema": "s", "name": "t"}, "columns": [
	{"name": "id", "format": "l", "pg_type": {"name": "int8", "oid": 20, "typmod": -1}, "nullable": false, "key": 1, "from": {"column": 0}},
	{"name": "x", "format": "u", "pg_type": {"name": "text", "oid": 25, "typmod": -1}, "nullable": true, "from": {"computed": 0}}]}]}}`

// good is a plugin that breaks no rule.
func good(reply string) code {
	return code{
		version: ABI, alloc: i32const(allocAt), plan: i64const(replyAt<<32 | int64(len(reply))), process: i32const(resultAt),
		image: goodImage(reply), pages: 2,
	}
}

func sleb(op byte, v int64) []byte {
	out := []byte{op}
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

func i32const(v int32) []byte { return sleb(0x41, int64(v)) }
func i64const(v int64) []byte { return sleb(0x42, v) }

func sized(b []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(b))), b...) }

func section(id byte, items ...[]byte) []byte {
	body := binary.AppendUvarint(nil, uint64(len(items)))
	for _, i := range items {
		body = append(body, i...)
	}
	return append([]byte{id}, sized(body)...)
}

// bytes is the module.
func (c code) bytes() []byte {
	const none, version, pointer, json, log = 0, 1, 2, 3, 4 // types
	type function struct {
		name string
		typ  byte
		body []byte
	}
	functions := []function{
		{"leat_abi_version", version, i32const(int32(c.version))}, {"leat_alloc", pointer, c.alloc},
		{"leat_plan", json, c.plan}, {"leat_process", pointer, c.process},
	}
	if c.extra != "" {
		functions = append(functions, function{c.extra, none, c.first})
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	out = append(out, section(1, []byte{0x60, 0, 0}, []byte{0x60, 0, 1, 0x7f}, []byte{0x60, 1, 0x7f, 1, 0x7f}, []byte{0x60, 2, 0x7f, 0x7f, 1, 0x7e}, []byte{0x60, 3, 0x7f, 0x7f, 0x7f, 0})...)
	var imports, types, exports, bodies [][]byte
	for _, i := range c.imports {
		typ := byte(none)
		if i[1] == "log" {
			typ = log
		}
		imports = append(imports, append(append(sized([]byte(i[0])), sized([]byte(i[1]))...), 0, typ))
	}
	for i, f := range functions {
		types = append(types, []byte{f.typ})
		bodies = append(bodies, sized(append(append([]byte{0}, f.body...), 0x0b)))
		if f.name != c.without {
			exports = append(exports, append(sized([]byte(f.name)), 0, byte(i+len(imports))))
		}
	}
	if c.without != "memory" {
		exports = append(exports, append(sized([]byte("memory")), 2, 0))
	}
	if len(imports) > 0 {
		out = append(out, section(2, imports...)...)
	}
	out = append(out, section(3, types...)...)
	out = append(out, section(5, []byte{0, c.pages})...)
	out = append(out, section(7, exports...)...)
	out = append(out, section(10, bodies...)...)
	data := append(append([]byte{0}, i32const(0)...), 0x0b)
	return append(out, section(11, append(data, sized(c.image)...))...)
}
