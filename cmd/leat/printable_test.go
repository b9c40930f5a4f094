package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestControlCharactersAreNotPrinted(t *testing.T) {
	for text, want := range map[string]string{
		"plain\ttext, élan 你好 🙂\r\nnext\n":        "plain\ttext, élan 你好 🙂\r\nnext\n",
		"\x1b[2J\x1b]0;title\x07wiped":            `\x1b[2J\x1b]0;title\x07wiped`,
		"real\rforged":                            `real\x0dforged`,
		"\u009b31m red, \u0085 next line, à is é": `\x9b31m red, \x85 next line, à is é`,
		"\x00\x7f": `\x00\x7f`,
		"":         "",
	} {
		var out bytes.Buffer
		if n, err := fmt.Fprint(printable{&out}, text); n != len(text) || err != nil || out.String() != want {
			t.Errorf("%q is printed as %q (%d of %d bytes, %v), want %q", text, out.String(), n, len(text), err, want)
		}
	}
}

// TestWhatLeatPrintsIsPrintable: results and errors alike.
func TestWhatLeatPrintsIsPrintable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wipe\x1b[2J")
	writeFile(t, "name = \"wipe\"\nversion = \"0.1.0\"\nkind = \"transform\"\nabi = 1\ndescription = \"a \\u001b[2J plugin\"\nlicence = \"Apache-2.0\"\n", dir, "plugin.toml")
	writeFile(t, "\x00asm\x01\x00\x00\x00", dir, "wipe.wasm")
	for _, args := range [][]string{{"plugin", "info", dir}, {"check", filepath.Join(dir, "pipeline.toml")}} {
		var out, errOut bytes.Buffer
		execute(t.Context(), args, &out, &errOut)
		if said := out.String() + errOut.String(); !strings.Contains(said, `\x1b[2J`) || strings.Contains(said, "\x1b") {
			t.Errorf("%q: printed %q", args, said)
		}
	}
}
