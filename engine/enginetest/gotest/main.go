// Command gotest runs `go test -json` with the arguments that it is given,
// prints a line for each package and the output of what failed, and closes
// with a count:
//
//	go run ./engine/enginetest/gotest -- -tags duckdb_arrow ./... -- -C pdk/go ./...
//
// Each -- begins the arguments of one run; the count is over all of them. With
// -fail-on-skip, or where the variable CI is set, a skipped test is a failure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
)

func main() {
	strict := flag.Bool("fail-on-skip", os.Getenv("CI") != "", "count a skipped test as a failure")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	report := &report{out: os.Stdout}
	for _, args := range runs(flag.Args()) {
		if err := test(ctx, args, report); err != nil {
			fmt.Fprintln(os.Stderr, "gotest:", err)
			os.Exit(1)
		}
	}
	if !report.close(*strict) {
		os.Exit(1)
	}
}

// runs splits the arguments at each --.
func runs(args []string) [][]string {
	out := [][]string{nil}
	for _, arg := range args {
		if arg == "--" {
			out = append(out, nil)
			continue
		}
		out[len(out)-1] = append(out[len(out)-1], arg)
	}
	return out
}

// test runs go test once. A failure that its events have told is no error.
func test(ctx context.Context, args []string, r *report) error {
	if len(args) > 1 && args[0] == "-C" { // go wants it before every other flag
		args = append([]string{"-C", args[1], "-json"}, args[2:]...)
	} else {
		args = append([]string{"-json"}, args...)
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"test"}, args...)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("run go test: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run go test: %w", err)
	}
	failed := r.failures
	readErr := r.read(events)
	if readErr != nil {
		io.Copy(io.Discard, events) // let it end; readErr is what is reported
	}
	err = cmd.Wait()
	if readErr != nil {
		return readErr
	}
	if _, exited := errors.AsType[*exec.ExitError](err); exited && r.failures > failed {
		return nil
	}
	if err != nil {
		return fmt.Errorf("run go test: %w", err)
	}
	return nil
}
