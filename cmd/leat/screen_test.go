package main

import (
	"strings"
	"testing"
)

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
