package postgres

import (
	"encoding/binary"
	"strconv"
)

// Address families of inet's binary form.
const (
	familyIPv4 = 2
	familyIPv6 = 3
)

func printInet(dst, raw []byte) ([]byte, error) { return appendAddress(dst, raw, false) }

func printCIDR(dst, raw []byte) ([]byte, error) { return appendAddress(dst, raw, true) }

// appendAddress prints family, mask length, cidr flag, address length and
// address; inet leaves a full mask out.
func appendAddress(dst, raw []byte, mask bool) ([]byte, error) {
	if len(raw) < 4 || len(raw) != 4+int(raw[3]) {
		return dst, errSyntax
	}
	address := raw[4:]
	switch {
	case raw[0] == familyIPv4 && len(address) == 4:
		dst = appendIPv4(dst, address)
	case raw[0] == familyIPv6 && len(address) == 16:
		dst = appendIPv6(dst, address)
	default:
		return dst, errSyntax
	}
	bits := int(raw[1])
	if bits > len(address)*8 {
		return dst, errSyntax
	}
	if mask || bits != len(address)*8 {
		dst = strconv.AppendInt(append(dst, '/'), int64(bits), 10)
	}
	return dst, nil
}

func appendIPv4(dst, address []byte) []byte {
	for i, b := range address {
		if i > 0 {
			dst = append(dst, '.')
		}
		dst = strconv.AppendUint(dst, uint64(b), 10)
	}
	return dst
}

// appendIPv6 shortens the first longest run of at least two zero words, and
// prints the last four bytes of an address that carries an IPv4 one as such.
func appendIPv6(dst, address []byte) []byte {
	var words [8]uint16
	for i := range words {
		words[i] = binary.BigEndian.Uint16(address[2*i:])
	}
	start, length := zeroRun(&words)
	for i := 0; i < len(words); i++ {
		if i == start && length > 0 {
			dst = append(dst, ':')
			i += length - 1
			continue
		}
		if i > 0 {
			dst = append(dst, ':')
		}
		if i == 6 && start == 0 && length > 0 &&
			(length == 6 || length == 7 && words[7] != 1 || length == 5 && words[5] == 0xffff) {
			return appendIPv4(dst, address[12:])
		}
		dst = strconv.AppendUint(dst, uint64(words[i]), 16)
	}
	if length > 0 && start+length == len(words) {
		dst = append(dst, ':')
	}
	return dst
}

func zeroRun(words *[8]uint16) (start, length int) {
	for i := 0; i < len(words); {
		n := 0
		for i+n < len(words) && words[i+n] == 0 {
			n++
		}
		if n > length {
			start, length = i, n
		}
		i += n + 1
	}
	if length < 2 {
		return 0, 0
	}
	return start, length
}

func printMAC6(dst, raw []byte) ([]byte, error) { return appendMAC(dst, raw, 6) }

func printMAC8(dst, raw []byte) ([]byte, error) { return appendMAC(dst, raw, 8) }

func appendMAC(dst, raw []byte, size int) ([]byte, error) {
	if len(raw) != size {
		return dst, errSyntax
	}
	const digits = "0123456789abcdef"
	for i, b := range raw {
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = append(dst, digits[b>>4], digits[b&15])
	}
	return dst, nil
}
