//go:build unix && !linux

package pgserver

import "syscall"

// childAttributes keeps the terminal's interrupt from the server, which its
// owner stops in order. Where the owner dies the next Start removes the data
// folder, at which PostgreSQL shuts itself down.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
