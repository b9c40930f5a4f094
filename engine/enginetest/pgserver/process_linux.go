package pgserver

import "syscall"

// childAttributes keeps the terminal's interrupt from the server, which its
// owner stops in order, and ends the server at once when the owner dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
}
