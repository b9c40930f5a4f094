package postgres

import (
	"time"

	"golang.org/x/sys/unix"
)

// limitUnanswered has the kernel end a connection whose peer does not
// acknowledge what was sent to it.
func limitUnanswered(fd uintptr, limit time.Duration) error {
	return unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit.Milliseconds()))
}
