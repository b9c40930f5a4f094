package meter

// Opcodes that the rewriter names. All others it copies.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opI64LtS       = 0x53
	opI64GeS       = 0x59
	opI32Or        = 0x72
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Or        = 0x84
	opI64ShrU      = 0x88
	opF32Copysign  = 0x98
	opF64Copysign  = 0xa6
	opI64ExtendU   = 0xad
	opRefNull      = 0xd0
	opRefFunc      = 0xd2
	opPrefixMisc   = 0xfc
	opPrefixSIMD   = 0xfd
	opPrefixAtomic = 0xfe

	miscMemoryFill = 0x0b // the last of the memory operations

	blockEmpty = 0x40
)

// immediate says what follows an opcode.
type immediate byte

const (
	immUnknown immediate = iota // not in WebAssembly 2.0 as wazero runs it
	immNone
	immControl  // handled by the rewriter itself
	immBlock    // block type
	immIndex    // one u32
	immMemory   // alignment and offset
	immByte     // one byte
	immMemLane  // alignment, offset and lane
	immI32      // signed 32-bit
	immI64      // signed 64-bit
	immBytes4   // f32
	immBytes8   // f64
	immBytes16  // v128, shuffle lanes
	immSelect   // vector of value types
	immRefType  // reference type
	immBulkFill // misc operation whose last operand is a length; one u32
	immBulkCopy // the same; two u32
)

// plain, misc and simd are indexed by opcode.
var (
	plain = plainTable()
	misc  = [18]immediate{
		immNone, immNone, immNone, immNone, immNone, immNone, immNone, immNone, // trunc_sat
		immBulkCopy, immIndex, immBulkCopy, immBulkFill, // memory.init data.drop memory.copy memory.fill
		immBulkCopy, immIndex, immBulkCopy, immBulkFill, immIndex, immBulkFill, // table.init elem.drop table.copy .grow .size .fill
	}
	simd = simdTable()
)

func fill(t *[256]immediate, from, to int, v immediate) {
	for i := from; i <= to; i++ {
		t[i] = v
	}
}

func plainTable() (t [256]immediate) {
	fill(&t, 0x00, 0x01, immNone)
	fill(&t, 0x02, 0x04, immBlock)
	fill(&t, 0x05, 0x05, immNone)
	fill(&t, 0x0b, 0x0b, immNone)
	fill(&t, 0x0c, 0x11, immControl) // br br_if br_table return call call_indirect
	fill(&t, 0x1a, 0x1b, immNone)
	t[0x1c] = immSelect
	fill(&t, 0x20, 0x26, immIndex)
	fill(&t, 0x28, 0x3e, immMemory)
	fill(&t, 0x3f, 0x40, immByte)
	t[0x41], t[0x42], t[0x43], t[0x44] = immI32, immI64, immBytes4, immBytes8
	fill(&t, 0x45, 0xc4, immNone)
	t[opRefNull], t[0xd1], t[opRefFunc] = immRefType, immNone, immControl
	fill(&t, 0xfc, 0xfd, immControl)
	return t
}

func simdTable() (t [256]immediate) {
	fill(&t, 0x00, 0x0b, immMemory)
	fill(&t, 0x0c, 0x0d, immBytes16)
	fill(&t, 0x0e, 0xff, immNone)
	fill(&t, 0x15, 0x22, immByte) // lane
	fill(&t, 0x54, 0x5b, immMemLane)
	fill(&t, 0x5c, 0x5d, immMemory)
	for _, hole := range []int{0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee} {
		t[hole] = immUnknown
	}
	return t
}

// refused names instructions outside WebAssembly 2.0, for the error text.
func refused(op byte) string {
	switch op {
	case 0x06, 0x07, 0x08, 0x09, 0x0a, 0x18, 0x19, 0x1f:
		return "exception handling"
	case 0x12, 0x13, 0x15:
		return "tail call"
	case 0x14, 0xd3, 0xd4, 0xd5, 0xd6:
		return "typed function reference"
	case opPrefixAtomic:
		return "atomic"
	case 0xfb:
		return "garbage collection"
	}
	return "unknown"
}
