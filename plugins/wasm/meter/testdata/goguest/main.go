// The Go guest of the meter's tests: the kernels that a transform is made of,
// over columns of 8,192 rows laid out as in Arrow.
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
)

const rows = 8192

var (
	a, b, sum [rows]int64
	emails    column
	arrays    column
	out       = make([]byte, 0, 1<<21)
)

// column is text: row i is data[offsets[i]:offsets[i+1]].
type column struct {
	offsets [rows + 1]int32
	data    []byte
}

func (c *column) row(i int) []byte { return c.data[c.offsets[i]:c.offsets[i+1]] }

func main() {}

//go:wasmexport prepare
func prepare() {
	for i := range rows {
		a[i], b[i] = int64(i)*7919, int64(i)^0x5555
		n := strconv.Itoa(i)
		emails.data = append(append(append(emails.data, "customer."...), n...), "@example.org"...)
		emails.offsets[i+1] = int32(len(emails.data))
		arrays.data = append(append(append(append(arrays.data, `{red,"dark \"blue",NULL,`...), n...), `,green,12.5`...), '}')
		arrays.offsets[i+1] = int32(len(arrays.data))
	}
}

func checksum(b []byte) int64 {
	return int64(len(b))<<32 | int64(b[len(b)-1])<<8 | int64(b[len(b)/2])
}

//go:wasmexport add
func add(times int32) int64 {
	for range times {
		for i := range a {
			sum[i] = a[i] + b[i]
		}
	}
	return sum[rows-1]
}

//go:wasmexport upper
func upper(times int32) int64 {
	for range times {
		out = out[:0]
		for i := range rows {
			for _, c := range emails.row(i) {
				if c >= 'a' && c <= 'z' {
					c -= 'a' - 'A'
				}
				out = append(out, c)
			}
		}
	}
	return checksum(out)
}

//go:wasmexport mask
func mask(times int32) int64 {
	for range times {
		out = out[:0]
		for i := range rows {
			e := emails.row(i)
			at := -1
			for k, c := range e {
				if c == '@' {
					at = k
					break
				}
			}
			if at < 1 {
				out = append(out, "***"...)
				continue
			}
			out = append(out, e[0])
			out = append(out, "***"...)
			out = append(out, e[at:]...)
		}
	}
	return checksum(out)
}

//go:wasmexport array
func array(times int32) int64 {
	for range times {
		out = out[:0]
		for i := range rows {
			out = appendJSON(out, arrays.row(i))
		}
	}
	return checksum(out)
}

// appendJSON turns a one-dimensional array literal into JSON text.
func appendJSON(out, lit []byte) []byte {
	out = append(out, '[')
	for i := 1; i < len(lit); i++ {
		if lit[i] == '"' {
			out = append(out, '"')
			for i++; lit[i] != '"'; i++ {
				if lit[i] == '\\' {
					i++
				}
				if lit[i] == '"' || lit[i] == '\\' {
					out = append(out, '\\')
				}
				out = append(out, lit[i])
			}
			out = append(out, '"')
			i++
		} else {
			from := i
			for lit[i] != ',' && lit[i] != '}' {
				i++
			}
			if string(lit[from:i]) == "NULL" {
				out = append(out, "null"...)
			} else {
				out = append(out, '"')
				out = append(out, lit[from:i]...)
				out = append(out, '"')
			}
		}
		if lit[i] == ',' {
			out = append(out, ',')
		}
	}
	return append(out, ']')
}

//go:wasmexport sha
func sha(times int32) int64 {
	var last [sha256.Size]byte
	for range times {
		for i := 0; i < rows; i += 8 {
			last = sha256.Sum256(emails.row(i))
		}
	}
	return int64(binary.LittleEndian.Uint64(last[:]))
}
