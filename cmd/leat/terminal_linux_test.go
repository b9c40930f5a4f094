package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// types lets the process have a terminal at which somebody types a line.
func types(t *testing.T, line string) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = terminal
	t.Cleanup(func() {
		os.Stdin = stdin
		terminal.Close()
	})
	if _, err := keyboard.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
}

// TestInitAsksForThePassword does so on a terminal, once, where none is known.
func TestInitAsksForThePassword(t *testing.T) {
	s := newSite(t, pgserver.Test(t, pgserver.Options{}))
	t.Chdir(s.dir)
	t.Setenv("PGPASSFILE", "none")
	dsn := fmt.Sprintf("postgres://%s@%s:%d/%s?sslmode=disable", s.role, s.host, s.port, s.database)
	s.expect(s.leat("init", dsn), exitSource, "PGPASSWORD")
	types(t, "wrong")
	s.expect(s.leat("init", dsn), exitSource, "password of role "+s.role, "[1011]")
	types(t, rolePassword)
	r := s.leat("init", "-o", "asked.toml", dsn)
	s.expect(r, exitOK, "wrote asked.toml", "export PGPASSWORD=..., leat check asked.toml")
	text, err := os.ReadFile("asked.toml")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text)+r.out+r.err, rolePassword) || !strings.Contains(string(text), `password = { env = "PGPASSWORD" }`) {
		t.Errorf("the password is shown, or not asked for:\n%s%s%s", text, r.out, r.err)
	}
}
