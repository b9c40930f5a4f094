//go:build !unix

package postgres

import "time"

// pause sleeps for d.
func pause(d time.Duration) { time.Sleep(d) }
