package main

import (
	"reflect"
	"strings"
	"testing"
)

const passing = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Test":"A","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"pass","Package":"p","Elapsed":0.5}
`

func read(t *testing.T, runs ...string) (*report, *strings.Builder) {
	t.Helper()
	var out strings.Builder
	r := &report{out: &out}
	for _, events := range runs {
		if err := r.read(strings.NewReader(events)); err != nil {
			t.Fatal(err)
		}
	}
	return r, &out
}

func TestReport(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []string
		strict bool
		ok     bool
		want   []string // parts of the output, in order
		not    string
	}{
		{"pass", []string{passing, passing}, true, true, []string{"ok    p  1 tests  0.5s", "2 passed, 0 failed, 0 skipped"}, "quiet"},
		{"nothing ran", []string{`{"Action":"skip","Package":"p"}`}, false, false, []string{"0 passed, 0 failed, 0 skipped"}, "ok"},
		{"failed test", []string{`{"Action":"output","Package":"p","Test":"A","Output":"broken\n"}
{"Action":"fail","Package":"p","Test":"A"}
{"Action":"fail","Package":"p","Elapsed":1}
` + passing}, false, false, []string{"broken", "FAIL  p", "1 passed, 1 failed"}, ""},
		{"failed test is told again", []string{`{"Action":"output","Package":"p","Test":"A","Output":"    a_test.go:3: wrong row\n"}
{"Action":"output","Package":"p","Test":"A","Output":"        long tale\n"}
{"Action":"fail","Package":"p","Test":"A"}
{"Action":"fail","Package":"p","Elapsed":1}
`}, false, false, []string{"wrong row", "long tale", "FAIL  p", "failed: p A", "a_test.go:3: wrong row", "0 passed, 1 failed"}, ""},
		{"skip", []string{passing + `{"Action":"skip","Package":"q","Test":"B"}`}, false, true, []string{"skipped: q B", "1 passed, 0 failed, 1 skipped"}, ""},
		{"skip in CI", []string{passing + `{"Action":"skip","Package":"q","Test":"B"}`}, true, false, []string{"skipped: q B"}, ""},
		{"does not build", []string{passing + `{"ImportPath":"q [q.test]","Action":"build-output","Output":"undefined: x\n"}
{"Action":"fail","Package":"q","FailedBuild":"q [q.test]"}`}, false, false, []string{"undefined: x", "FAIL  q", "1 passed, 1 failed"}, ""},
		{"process died", []string{passing + `{"Action":"output","Package":"q","Test":"B","Output":"last words\n"}
{"Action":"fail","Package":"q"}`}, false, false, []string{"last words", "1 failed"}, ""},
		{"other lines", []string{"go: warning\n" + passing}, false, true, []string{"go: warning", "1 passed"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, out := read(t, c.events...)
			if ok := r.close(c.strict); ok != c.ok {
				t.Errorf("close says %v", ok)
			}
			rest := out.String()
			for _, part := range c.want {
				_, after, found := strings.Cut(rest, part)
				if !found {
					t.Fatalf("%q is not in (the rest of) the output:\n%s", part, out)
				}
				rest = after
			}
			if c.not != "" && strings.Contains(out.String(), c.not) {
				t.Errorf("%q is in the output:\n%s", c.not, out)
			}
		})
	}
}

func TestRunsAreSplitAtDashes(t *testing.T) {
	got := runs([]string{"-tags", "x", "./...", "--", "-C", "pdk/go", "./..."})
	if want := [][]string{{"-tags", "x", "./..."}, {"-C", "pdk/go", "./..."}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
}
