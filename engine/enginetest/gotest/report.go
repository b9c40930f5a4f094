package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// event is a line of go test -json, see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	Test        string
	Elapsed     float64
	Output      string
	ImportPath  string // of a build-output event
	FailedBuild string
}

type testID struct{ pkg, test string }

// report prints events for people and counts tests. Tests are counted, not
// packages; a package that fails without a failed test counts as one failure.
type report struct {
	out      io.Writer
	passed   int
	failures int
	skipped  []testID
	said     []string // what close repeats of the failed tests

	output    map[testID]*strings.Builder
	failedIn  map[string]int // failed tests by package
	testsIn   map[string]int
	buildFail map[string]*strings.Builder
}

// read takes the events of one run of go test.
func (r *report) read(events io.Reader) error {
	r.output, r.failedIn, r.testsIn = map[testID]*strings.Builder{}, map[string]int{}, map[string]int{}
	r.buildFail = map[string]*strings.Builder{}
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				r.out.Write(line) // what go itself prints between the events
			} else {
				r.take(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read events of go test: %w", err)
		}
	}
}

func (r *report) take(e event) {
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		appendTo(r.buildFail, e.ImportPath, e.Output)
	case "output":
		appendTo(r.output, id, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e)
		} else {
			r.endTest(id, e.Action)
		}
	}
}

func appendTo[K comparable](m map[K]*strings.Builder, key K, text string) {
	b := m[key]
	if b == nil {
		b = &strings.Builder{}
		m[key] = b
	}
	b.WriteString(text)
}

func (r *report) endTest(id testID, action string) {
	r.testsIn[id.pkg]++
	switch action {
	case "pass":
		r.passed++
	case "fail":
		r.failures++
		r.failedIn[id.pkg]++
		r.print(id)
		r.remember(id)
	case "skip":
		r.skipped = append(r.skipped, id)
		r.print(id)
	}
	delete(r.output, id)
}

func (r *report) endPackage(e event) {
	switch {
	case e.Action == "fail":
		if r.failedIn[e.Package] == 0 {
			r.failures++
			if b := r.buildFail[e.FailedBuild]; b != nil {
				io.WriteString(r.out, b.String())
			}
			r.print(testID{pkg: e.Package})
			r.printUnfinished(e.Package)
		}
		fmt.Fprintf(r.out, "FAIL  %s  %.1fs\n", e.Package, e.Elapsed)
	case r.testsIn[e.Package] > 0:
		fmt.Fprintf(r.out, "ok    %s  %d tests  %.1fs\n", e.Package, r.testsIn[e.Package], e.Elapsed)
	}
}

func (r *report) print(id testID) {
	if b := r.output[id]; b != nil {
		io.WriteString(r.out, b.String())
	}
}

// A test's own lines begin so.
var ownLine = regexp.MustCompile(`(?m)^ +\w+_test\.go:\d+: .*$`)

// remember keeps the first line of each of a failed test's last messages for
// the end: its whole output may be long and far above it.
func (r *report) remember(id testID) {
	b := r.output[id]
	if b == nil {
		return
	}
	const most, width = 12, 300
	lines := ownLine.FindAllString(b.String(), -1)
	if len(lines) == 0 {
		return
	}
	r.said = append(r.said, fmt.Sprintf("failed: %s %s", id.pkg, id.test))
	for _, line := range lines[max(0, len(lines)-most):] {
		r.said = append(r.said, line[:min(len(line), width)])
	}
}

// printUnfinished shows the tests that a dying test process took with it.
func (r *report) printUnfinished(pkg string) {
	for id := range r.output {
		if id.pkg == pkg && id.test != "" {
			r.print(id)
		}
	}
}

// close prints what failed in short and the count, and says whether everything
// passed. A run without a single test has not passed.
func (r *report) close(strict bool) bool {
	for _, id := range r.skipped {
		fmt.Fprintf(r.out, "skipped: %s %s\n", id.pkg, id.test)
	}
	for _, line := range r.said {
		fmt.Fprintln(r.out, line)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failures, len(r.skipped))
	return r.failures == 0 && r.passed > 0 && !(strict && len(r.skipped) > 0)
}
