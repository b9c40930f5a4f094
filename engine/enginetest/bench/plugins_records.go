package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/tetratelabs/wazero"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/workbench/compile"
)

const (
	records     = "masking an address, in Go"
	leatBatches = "leat's batches"
	oneByOne    = "one record at a time"
	oneByOneCtx = "one record at a time, wazero watching for the end of a context"
)

// measureRecords compares a Go plugin with the design of engines that hand a
// plugin one record at a time, as a protobuf message of named values. Their
// runtimes let wazero look for the end of a context in every loop; both are shown.
func (p *pluginBench) measureRecords(ctx context.Context) error {
	p.say(records)
	example, err := p.example(ctx, "mask-email", compile.Go)
	if err != nil {
		return err
	}
	code, err := p.compileRecord(ctx)
	if err != nil {
		return err
	}
	c, err := p.load(ctx, example, `{"column": "email"}`, p.table)
	if err != nil {
		return err
	}
	defer c.plugin.Close(ctx)
	runners := []runner{inProcess(leatBatches, func(n int) error { return c.pass(ctx, p.table, n) })}
	for name, config := range map[string]wazero.RuntimeConfig{oneByOne: wazero.NewRuntimeConfigCompiler(), oneByOneCtx: wazero.NewRuntimeConfigCompiler().WithCloseOnContextDone(true)} {
		r, err := newBareRuntime(ctx, config)
		if err != nil {
			return err
		}
		defer r.Close(ctx)
		g, err := r.start(ctx, code)
		if err != nil {
			return err
		}
		row := 0
		runners = append(runners, inProcess(name, func(n int) error {
			for range n {
				if row = (row + 1) % p.table.Len(); row == 0 {
					continue
				}
				if err := g.record(ctx, p.table, row); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	if err := p.race(ctx, records, benchRows, 100*time.Millisecond, runners[:1]); err != nil {
		return err
	}
	if err := p.race(ctx, records, 1, 100*time.Millisecond, runners[1:]); err != nil {
		return err
	}
	p.report.of(records).compare(leatBatches, oneByOne, leastRecords)
	p.report.of(records).compare(leatBatches, oneByOneCtx, 0)
	return nil
}

// compileRecord compiles the guest that takes records.
func (p *pluginBench) compileRecord(ctx context.Context) ([]byte, error) {
	to := filepath.Join(p.dir, "record.wasm")
	build := exec.CommandContext(ctx, "go", "build", "-buildmode=c-shared", "-ldflags", "-s -w", "-o", to, "./engine/enginetest/bench/testdata/record")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOWORK=off")
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile the guest for records: %w\n%s", err, text)
	}
	return os.ReadFile(to)
}

// record sends one row and reads back what became of it.
func (g *bareGuest) record(ctx context.Context, b *batch.Batch, row int) error {
	fields := map[string]*structpb.Value{}
	for i, c := range b.Schema.Columns {
		switch column := b.Rows.Column(i).(type) {
		case *array.Int64:
			fields[c.Name] = structpb.NewNumberValue(float64(column.Value(row)))
		case *array.String:
			fields[c.Name] = structpb.NewStringValue(column.Value(row))
		}
	}
	message, err := proto.Marshal(&structpb.Struct{Fields: fields})
	if err != nil {
		return err
	}
	at, err := g.give(ctx, message)
	if err != nil {
		return err
	}
	packed, err := g.call(ctx, "process", at, uint64(len(message)))
	if err != nil {
		return err
	}
	answer, ok := g.Memory().Read(uint32(packed>>32), uint32(packed))
	if !ok {
		return fmt.Errorf("the answer at %d is outside memory", packed>>32)
	}
	var out structpb.Struct
	if err := proto.Unmarshal(answer, &out); err != nil {
		return err
	}
	if masked := out.Fields["email"].GetStringValue(); masked != "p***@example.org" {
		return fmt.Errorf("row %d: the address became %q", row, masked)
	}
	return nil
}
