package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/compile"
	"github.com/leat-etl/leat/plugins/workbench/scaffold"
)

// pluginBench measures plugins, without any server. Seconds are processor time,
// so that other work on the machine does not count, and contenders take turns.
type pluginBench struct {
	*bench
	host  *wasm.Host
	table *batch.Batch
	dir   string
	turns int
	built map[string][]byte // the examples that were compiled
}

// benchRows are the rows of a batch, as many as the engine's batches have.
const benchRows = 8192

// example is one of the kits' examples with the settings that it is run with.
type example struct{ name, config string }

var examples = []example{
	{"sum", `{"a": "id", "b": "id", "into": "total"}`},
	{"upper", `{"column": "email"}`},
	{"mask-email", `{"column": "email"}`},
	{"array-json", `{"column": "scores"}`},
	{"filter", `{"column": "note", "value": "nothing"}`},
	{"split", `{"column": "note"}`},
}

func (b *bench) measurePlugins(ctx context.Context) (err error) {
	host, err := wasm.NewHost(ctx, wasm.Config{CacheDir: filepath.Join(b.dir, "cache")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close(context.WithoutCancel(ctx))) }()
	p := &pluginBench{bench: b, host: host, table: customers(benchRows), dir: filepath.Join(b.dir, "plugins"), turns: max(3, 3*b.rounds), built: map[string][]byte{}}
	defer p.table.Release()
	if err := findAssemblyScript(); err != nil {
		return err
	}
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{
		{"examples", p.measureExamples}, {"metering", p.measureMetering}, {"empty", p.measureEmpty}, {"copies", p.measureCopies},
		{"hashing", p.measureHashing}, {"records", p.measureRecords}, {"start", p.measureStart},
	} {
		if !p.matches(part.name) {
			continue
		}
		if err := part.measure(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// findAssemblyScript puts the compiler that the task toolchains installs on the
// path.
func findAssemblyScript() error {
	dir, err := filepath.Abs(filepath.Join("build", "assemblyscript", "node_modules", ".bin"))
	if err != nil {
		return err
	}
	return os.Setenv("PATH", os.Getenv("PATH")+string(filepath.ListSeparator)+dir)
}

// example compiles an example in a language, once.
func (p *pluginBench) example(ctx context.Context, name string, language compile.Language) ([]byte, error) {
	dir, err := filepath.Abs(filepath.Join("pdk", string(language), "examples", name))
	if err != nil || p.built[dir] != nil {
		return p.built[dir], err
	}
	p.say("compiling the example %s in %s", name, language)
	p.built[dir], err = p.compile(ctx, dir)
	return p.built[dir], err
}

func (p *pluginBench) compile(ctx context.Context, dir string) ([]byte, error) {
	var said bytes.Buffer
	to := filepath.Join(p.dir, "plugin.wasm")
	if _, err := compile.Build(ctx, dir, to, &said); err != nil {
		return nil, err
	}
	return os.ReadFile(to)
}

// write makes the folder of a plugin and replaces its source.
func (p *pluginBench) write(name string, language compile.Language, file, source string) (string, error) {
	dir := filepath.Join(p.dir, name+"-"+string(language))
	if _, err := scaffold.New(scaffold.Options{Dir: dir, Language: language, Kind: bundle.Transform}); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, file), []byte(source), 0o600)
}

// customers is a batch of rows with four columns.
func customers(rows int) *batch.Batch {
	text := batch.PGType{Name: "text", OID: 25, Typmod: -1, Kind: "b"}
	s := &batch.Schema{
		Table: batch.TableID{Database: "shop", Schema: "public", Name: "customers"}, Version: 1,
		Columns: []batch.Column{
			{Name: "id", Type: arrow.PrimitiveTypes.Int64, PG: batch.PGType{Name: "int8", OID: 20, Typmod: -1, Kind: "b"}, Key: 1},
			{Name: "email", Type: arrow.BinaryTypes.String, PG: text, Nullable: true},
			{Name: "note", Type: arrow.BinaryTypes.String, PG: text, Nullable: true},
			{Name: "scores", Type: arrow.BinaryTypes.String, PG: batch.PGType{Name: "int4[]", OID: 1007, Typmod: -1, Kind: "a"}, Nullable: true},
		},
	}
	b := batch.NewBuilder(s)
	for i := range rows {
		b.Column(0).AppendUint64(uint64(i))
		b.Column(1).AppendBytes(fmt.Appendf(nil, "person%d@example.org", i))
		b.Column(2).AppendBytes([]byte("a note of moderate length for every row"))
		b.Column(3).AppendBytes(fmt.Appendf(nil, "{%d,NULL,3}", i))
		b.EndRow(batch.Insert, 1, uint64(i), 1)
	}
	return b.Finish(batch.Position{LSN: 1})
}

// planned is a plugin with its plan.
type planned struct {
	plugin *wasm.Transform
	plan   *wasm.Plan
}

// load loads a plugin and plans the table of b.
func (p *pluginBench) load(ctx context.Context, code []byte, config string, b *batch.Batch) (*planned, error) {
	t, err := p.host.Transform(ctx, code, wasm.Plugin{Name: "bench", Version: "1.0.0", Config: json.RawMessage(config)})
	if err != nil {
		return nil, err
	}
	plan, err := t.Plan(ctx, wasm.PlanInput{Schema: b.Schema, Databases: []string{b.Schema.Table.Database}})
	if err != nil {
		return nil, errors.Join(err, t.Close(ctx))
	}
	return &planned{t, plan}, nil
}

// pass processes a batch n times.
func (c *planned) pass(ctx context.Context, b *batch.Batch, n int) error {
	for range n {
		r, err := c.plugin.Process(ctx, c.plan, b)
		if err != nil {
			return err
		}
		for _, out := range r.Batches {
			out.Release()
		}
	}
	return nil
}

// runner does something n times and returns the processor time in seconds.
type runner struct {
	name string
	run  func(n int) (float64, error)
}

// inProcess measures what runs in this process.
func inProcess(name string, f func(n int) error) runner {
	return runner{name, func(n int) (float64, error) {
		before := ownCPU()
		err := f(n)
		return ownCPU() - before, err
	}}
}

// race lets the runners take turns, each with as many passes as fill the given
// time, and reports them. A pass is of so many rows.
func (p *pluginBench) race(ctx context.Context, workload string, rows int, long time.Duration, runners []runner) error {
	passes := make([]int, len(runners))
	for i, r := range runners {
		took := 0.0
		for passes[i] = 1; ; passes[i] *= 2 { // also warms up
			var err error
			if took, err = r.run(passes[i]); err != nil {
				return fmt.Errorf("%s: %s: %w", workload, r.name, err)
			}
			if took > long.Seconds()/4 {
				break
			}
		}
		passes[i] = max(1, int(float64(passes[i])*long.Seconds()/took))
	}
	for range p.turns {
		for i, r := range runners {
			took, err := r.run(passes[i])
			if err != nil {
				return fmt.Errorf("%s: %s: %w", workload, r.name, err)
			}
			p.report.add(workload, r.name, measure{Changes: rows * passes[i], Seconds: took, CPU: took})
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
