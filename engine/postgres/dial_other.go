//go:build !linux

package postgres

import "time"

// limitUnanswered does nothing: here the system's own limit holds.
func limitUnanswered(uintptr, time.Duration) error { return nil }
