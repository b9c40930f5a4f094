package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestExamples gives every command an example, which names it and holds for its
// arguments and flags.
func TestExamples(t *testing.T) {
	seen := 0
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			look(sub)
		}
		if !c.Runnable() || c.HasSubCommands() && c.Example == "" {
			return
		}
		seen++
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
			return
		}
		for line := range strings.SplitSeq(c.Example, "\n") {
			line, _, _ = strings.Cut(strings.ReplaceAll(line, "'", `"`), " > ")
			found, rest, err := new(program).root().Find(words(line)[1:])
			if err == nil {
				err = found.ParseFlags(rest)
			}
			if err == nil {
				err = found.ValidateArgs(found.Flags().Args())
			}
			if err != nil || found.CommandPath() != c.CommandPath() {
				t.Errorf("%s: %s, %v", line, found.CommandPath(), err)
			}
		}
	}
	root := new(program).root()
	look(root)
	if seen != len(examples) {
		t.Errorf("%d commands with examples, and %d examples: one is of no command", seen, len(examples))
	}
}

// examples runs the examples of verbs that only read, or are asked to change what
// the site has.
func (s *site) examples(verbs ...string) {
	s.t.Helper()
	for _, verb := range verbs {
		for line := range strings.SplitSeq(examples["leat "+verb], "\n") {
			line, _, _ = strings.Cut(line, " > ")
			args := words(line)[1:]
			for i, arg := range args {
				if arg == "shop.toml" {
					args[i] = s.file
				}
			}
			if r := s.leat(args...); r.code != exitOK || r.out == "" && verb != "run" {
				s.t.Errorf("%s: exit code %d\n%s%s", line, r.code, r.out, r.err)
			}
		}
	}
}
