package main

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// TestNoRoomAdvice says what to do where a file of Leat's own cannot grow.
func TestNoRoomAdvice(t *testing.T) {
	var out strings.Builder
	report(&out, fmt.Errorf("spill transaction 7: %w", &fs.PathError{Op: "write", Path: "spill/7", Err: syscall.ENOSPC}))
	if !strings.Contains(out.String(), "what to do: make room on the disk") {
		t.Errorf("said %q", out.String())
	}
}
