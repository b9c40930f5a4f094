package spec

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/leat-etl/leat/plugins/bundle/strict"
)

// keyLine is a key with a string on a line of its own: before the value, the
// value, and a comment.
var keyLine = regexp.MustCompile(`^(\s*(?:plugin|shadow)\s*=\s*)("(?:[^"\\]|\\.)*"|'[^']*')(\s*(?:#.*)?)$`)

// PromoteShadow returns the text of a pipeline file in which the candidate of
// transform i, from 0, has become its plugin. All other lines stay as they are.
func PromoteShadow(name string, text []byte, i int) ([]byte, error) {
	before := &Spec{}
	doc, err := strict.Decode(name, text, before)
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= len(before.Transforms) || before.Transforms[i].Shadow == "" {
		return nil, fmt.Errorf("%s: transform %d has no shadow", name, i+1)
	}
	at := strict.Path{"transforms"}.Index(i)
	lines := bytes.SplitAfter(text, []byte("\n"))
	line := func(key string) (int, [][]byte) {
		n, _ := doc.Place(at.Key(key))
		return n - 1, keyLine.FindSubmatch(bytes.TrimRight(lines[n-1], "\r\n"))
	}
	plugin, was := line("plugin")
	shadow, is := line("shadow")
	if was == nil || is == nil {
		return nil, fmt.Errorf("%s:%d: plugin and shadow do not stand on lines of their own: write plugin = %q and remove shadow", name, plugin+1, before.Transforms[i].Shadow)
	}
	end := lines[plugin][len(bytes.TrimRight(lines[plugin], "\r\n")):]
	lines[plugin] = bytes.Join([][]byte{was[1], is[2], was[3], end}, nil)
	lines[shadow] = nil
	out := bytes.Join(lines, nil)
	after, err := Parse(name, out)
	if err != nil {
		return nil, err
	}
	if t := after.Transforms[i]; t.Plugin != before.Transforms[i].Shadow || t.Shadow != "" {
		return nil, fmt.Errorf("%s:%d: write plugin = %q and remove shadow", name, plugin+1, before.Transforms[i].Shadow)
	}
	return out, nil
}

// Rewrite replaces a pipeline file as a whole, or not at all.
func Rewrite(path string, text []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("rewrite pipeline file: %w", err)
	}
	part, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("rewrite pipeline file: %w", err)
	}
	defer os.Remove(part.Name())
	_, err = part.Write(text)
	if err == nil {
		err = part.Chmod(info.Mode().Perm())
	}
	if err == nil {
		err = part.Sync()
	}
	if closed := part.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(part.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("rewrite pipeline file %s: %w", path, err)
	}
	return nil
}
