package main

import (
	"strings"
	"testing"

	"github.com/leat-etl/leat/engine"
)

// TestLoadText says how far a load is, of a table without an estimate too.
func TestLoadText(t *testing.T) {
	for want, p := range map[string]engine.TableProgress{
		"5 rows, 1.0 MB of 2.0 MB":             {Loaded: 5, LoadEstimate: -1, LoadBytes: 1e6, LoadBytesTotal: 2e6},
		"5 of about 10 rows, 1.0 MB of 2.0 MB": {Loaded: 5, LoadEstimate: 10, LoadBytes: 1e6, LoadBytesTotal: 2e6},
	} {
		if got := loadText(p); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestScreenKeepsItsBlockAtTheEnd(t *testing.T) {
	var out strings.Builder
	s := &screen{w: &out}
	write := func(text string) {
		t.Helper()
		if n, err := s.Write([]byte(text)); err != nil || n != len(text) {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}
	write("before\n")
	if err := s.show("one\ntwo\n"); err != nil {
		t.Fatal(err)
	}
	write("log\n")
	if err := s.show("three\n"); err != nil {
		t.Fatal(err)
	}
	s.leave()
	write("after\n")
	want := "before\n" + "one\ntwo\n" + "\x1b[2A\x1b[Jlog\none\ntwo\n" + "\x1b[2A\x1b[Jthree\n" + "after\n"
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
}
