package strict

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size. In a file it is a number of bytes or a text such as "64MB";
// as in PostgreSQL, a kB is 1024 bytes.
type Bytes int64

var byteUnits = []struct {
	name  string
	bytes int64
}{{"TB", 1 << 40}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"kB", 1 << 10}, {"B", 1}}

// ParseBytes reads a size with a unit.
func ParseBytes(s string) (Bytes, error) {
	fail := fmt.Errorf("%q is not a size: want a number and B, kB, MB, GB or TB, for example 64MB", s)
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
	if err != nil || n < 0 {
		return 0, fail
	}
	unit := strings.ToUpper(strings.Replace(s[len(digits):], "i", "", 1))
	for _, u := range byteUnits {
		if unit == strings.ToUpper(u.name) {
			if n > math.MaxInt64/u.bytes {
				return 0, fail
			}
			return Bytes(n * u.bytes), nil
		}
	}
	return 0, fail
}

// String prints the size with the largest unit that leaves it whole.
func (b Bytes) String() string {
	for _, u := range byteUnits {
		if b != 0 && int64(b)%u.bytes == 0 {
			return strconv.FormatInt(int64(b)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
