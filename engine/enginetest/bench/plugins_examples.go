package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/workbench/compile"
)

// guestOf names a language's plugin as a contender.
func guestOf(language compile.Language) string { return "plugin in " + string(language) }

const nativeGo = "the same code in native Go"

// measureExamples runs each example in each language beside the Go example's
// code compiled for this machine.
func (p *pluginBench) measureExamples(ctx context.Context) error {
	for _, e := range examples {
		p.say("example %s", e.name)
		if err := p.measureExample(ctx, e); err != nil {
			return err
		}
		c := p.report.of("example " + e.name)
		for _, language := range compile.Languages {
			c.compare(guestOf(language), nativeGo, 0)
		}
	}
	return nil
}

func (p *pluginBench) measureExample(ctx context.Context, e example) (err error) {
	n, err := p.startNative(ctx, e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	runners := []runner{{nativeGo, n.run}}
	for _, language := range compile.Languages {
		code, err := p.example(ctx, e.name, language)
		if err != nil {
			return err
		}
		c, err := p.load(ctx, code, e.config, p.table)
		if err != nil {
			return fmt.Errorf("example %s in %s: %w", e.name, language, err)
		}
		defer c.plugin.Close(ctx)
		runners = append(runners, inProcess(guestOf(language), func(n int) error { return c.pass(ctx, p.table, n) }))
	}
	return p.race(ctx, "example "+e.name, benchRows, 30*time.Millisecond, runners)
}

//go:embed testdata/native.go.txt
var nativeMain string

// native is a process that runs an example outside the sandbox.
type native struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// startNative compiles the Go example, with the kit's own call around it, and
// gives it the batch.
func (p *pluginBench) startNative(ctx context.Context, e example) (*native, error) {
	source, err := os.ReadFile(filepath.Join("pdk", "go", "examples", e.name, "main.go"))
	if err != nil {
		return nil, err
	}
	const empty = "func main() {}"
	if !strings.Contains(string(source), empty) {
		return nil, fmt.Errorf("example %s has no %q", e.name, empty)
	}
	dir, err := p.write("native-"+e.name, compile.Go, "main.go", strings.Replace(string(source), empty, "func main() { pdk.Measure() }", 1))
	if err != nil {
		return nil, err
	}
	input, err := json.Marshal(map[string]any{"config": json.RawMessage(e.config), "schema": p.table.Schema, "cells": cellsOf(p.table)})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "input.json")
	if err := errors.Join(os.WriteFile(file, input, 0o600), os.WriteFile(filepath.Join(dir, compile.KitFolder, "measure.go"), []byte(nativeMain), 0o600)); err != nil {
		return nil, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", "native", ".")
	build.Dir, build.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile %s: %w\n%s", dir, err, text)
	}
	n := &native{cmd: exec.CommandContext(ctx, filepath.Join(dir, "native"), file)}
	n.cmd.Stderr = os.Stderr
	if n.in, err = n.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	n.out = bufio.NewScanner(out)
	return n, n.cmd.Start()
}

// run has the process make n passes; it answers with its processor time.
func (n *native) run(passes int) (float64, error) {
	if _, err := fmt.Fprintln(n.in, passes); err != nil {
		return 0, err
	}
	if !n.out.Scan() {
		return 0, errors.Join(errors.New("the native example ended"), n.out.Err())
	}
	took, err := strconv.ParseInt(n.out.Text(), 10, 64)
	return float64(took) / 1e9, err
}

func (n *native) stop() error { return errors.Join(n.in.Close(), n.cmd.Wait()) }

// cellsOf are the values by column.
func cellsOf(b *batch.Batch) [][]string {
	out := make([][]string, len(b.Schema.Columns))
	for i := range out {
		for row := range b.Len() {
			switch c := b.Rows.Column(i).(type) {
			case *array.Int64:
				out[i] = append(out[i], strconv.FormatInt(c.Value(row), 10))
			case *array.String:
				out[i] = append(out[i], c.Value(row))
			default:
				panic("no benchmark has a column of type " + arrow.Type(c.DataType().ID()).String())
			}
		}
	}
	return out
}
