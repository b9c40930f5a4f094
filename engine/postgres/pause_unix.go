//go:build unix

package postgres

import (
	"time"

	"golang.org/x/sys/unix"
)

// pause sleeps for less than the millisecond that the runtime's timers round
// up to.
func pause(d time.Duration) {
	wait := unix.NsecToTimeval(d.Nanoseconds())
	_, _ = unix.Select(0, nil, nil, nil, &wait) // an interrupted pause is a shorter one
}
