package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/tetratelabs/wazero"
	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/wasm/meter"
	"github.com/leat-etl/leat/plugins/workbench/compile"
)

// Targets.
const (
	mostMetering       = 1.15 // of each example, in time
	mostMeteringMedian = 1.08
	mostEmpty          = 20 // microseconds a batch
	leastCopies        = 5  // GB/s
	leastHashing       = 0.7
	leastRecords       = 50
	mostStart          = 300 // milliseconds
)

// measureMetering compares each example with the same module without the meter.
func (p *pluginBench) measureMetering(ctx context.Context) error {
	r, err := newBareRuntime(ctx, wazero.NewRuntimeConfigCompiler())
	if err != nil {
		return err
	}
	defer r.Close(ctx)
	var costs []float64
	for _, e := range examples {
		for _, language := range compile.Languages {
			title := fmt.Sprintf("%s in %s", e.name, language)
			plain, err := p.example(ctx, e.name, language)
			if err != nil {
				return err
			}
			p.say("metering %s", title)
			metered, _, err := meter.Instrument(plain, meter.Options{TickEvery: tickEvery})
			if err != nil {
				return err
			}
			var guests []runner
			for i, code := range [][]byte{plain, metered} {
				g, err := r.start(ctx, code)
				if err != nil {
					return fmt.Errorf("%s: %w", title, err)
				}
				defer g.Close(ctx)
				if err := g.prepare(ctx, e.config, p.table); err != nil {
					return fmt.Errorf("%s: %w", title, err)
				}
				guests = append(guests, inProcess([]string{"plain", "metered"}[i], func(n int) error { return g.pass(ctx, n) }))
			}
			ratios, err := p.pairs(ctx, 10*time.Millisecond, guests[1], guests[0])
			if err != nil {
				return fmt.Errorf("%s: %w", title, err)
			}
			cost := median(ratios)
			costs = append(costs, cost)
			p.report.atMost("metering", title, "of the time without", cost, mostMetering)
		}
	}
	p.report.atMost("metering", "median of all", "of the time without", median(costs), mostMeteringMedian)
	return nil
}

// pairs runs two by turns and returns what a takes as a multiple of b.
func (p *pluginBench) pairs(ctx context.Context, long time.Duration, a, b runner) ([]float64, error) {
	const turns = 15
	n := 1
	for ; ; n *= 2 {
		took, err := b.run(n)
		if err != nil {
			return nil, err
		}
		if took > long.Seconds() {
			break
		}
	}
	if _, err := a.run(n); err != nil { // warms up
		return nil, err
	}
	var ratios []float64
	for range turns {
		before, err := b.run(n)
		if err != nil {
			return nil, err
		}
		took, err := a.run(n)
		if err != nil {
			return nil, err
		}
		ratios = append(ratios, took/before)
	}
	return ratios, ctx.Err()
}

// emptySources are plugins that are called and let every row pass. With the
// setting "with" they ask for text columns, too.
var emptySources = map[compile.Language][2]string{
	compile.Go: {"main.go", `package main

import "github.com/leat-etl/leat/pdk/go"

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	p := pdk.KeepAll(in.Schema)
	p.Filters = true
	p.Process = func(*pdk.Batch, *pdk.Output) error { return nil }
	return p, nil
}
`},
	compile.Rust: {"src/lib.rs", `fn plan(p: &mut leat::Plan) -> Result<(), String> {
    p.keep_all();
    p.filters = true;
    Ok(())
}
leat::transform!(plan);
`},
	compile.C: {"plugin.c", `#include "leat.h"

static bool plan(leat_plan *p) {
    leat_keep_all(p);
    p->filters = true;
    if (leat_get(p->config, "with").len)
        for (uint32_t i = 0; i < p->table.n_columns; i++) leat_need(p, (int)i);
    return true;
}
LEAT_TRANSFORM(plan)
`},
	compile.TypeScript: {"plugin.ts", `import { Plan, Transform, registerTransform } from "./leat/assembly";
export * from "./leat/assembly/transform";

class Empty extends Transform {
  plan(p: Plan): bool {
    p.keepAll();
    p.filters = true;
    return true;
  }
}
registerTransform(() => new Empty());
`},
}

// measureEmpty measures what a call costs beside its data.
func (p *pluginBench) measureEmpty(ctx context.Context) error {
	one := customers(1)
	defer one.Release()
	for _, language := range compile.Languages {
		p.say("an empty plugin in %s", language)
		code, err := p.empty(ctx, language)
		if err != nil {
			return err
		}
		c, err := p.load(ctx, code, "{}", one)
		if err != nil {
			return err
		}
		took, err := p.each(inProcess("", func(n int) error { return c.pass(ctx, one, n) }))
		if err != nil {
			return err
		}
		p.report.atMost("an empty plugin", "in "+string(language), "microseconds a batch", took*1e6, mostEmpty)
		if err := c.plugin.Close(ctx); err != nil {
			return err
		}
	}
	return nil
}

// empty compiles the empty plugin in a language.
func (p *pluginBench) empty(ctx context.Context, language compile.Language) ([]byte, error) {
	source, name := emptySources[language], "empty-"+string(language)
	if p.built[name] != nil {
		return p.built[name], nil
	}
	dir, err := p.write("empty", language, source[0], source[1])
	if err == nil {
		p.built[name], err = p.compile(ctx, dir)
	}
	return p.built[name], err
}

// each is the median processor time of one pass in seconds.
func (p *pluginBench) each(r runner) (float64, error) {
	n := 1
	for ; ; n *= 2 {
		took, err := r.run(n)
		if err != nil {
			return 0, err
		}
		if took > 0.02 {
			break
		}
	}
	var all []float64
	for range p.turns {
		took, err := r.run(n)
		if err != nil {
			return 0, err
		}
		all = append(all, took/float64(n))
	}
	return median(all), nil
}

// measureCopies measures the way of columns into a guest that ignores them,
// beside a plain copy of as many bytes in this process.
func (p *pluginBench) measureCopies(ctx context.Context) error {
	p.say("column copies")
	code, err := p.empty(ctx, compile.C)
	if err != nil {
		return err
	}
	c, err := p.load(ctx, code, `{"with": true}`, p.table)
	if err != nil {
		return err
	}
	defer c.plugin.Close(ctx)
	before := c.plugin.Stats().BytesIn
	if err := c.pass(ctx, p.table, 1); err != nil {
		return err
	}
	bytes := float64(c.plugin.Stats().BytesIn - before)
	took, err := p.each(inProcess("", func(n int) error { return c.pass(ctx, p.table, n) }))
	if err != nil {
		return err
	}
	from, to := make([]byte, int(bytes)), make([]byte, int(bytes))
	plain, err := p.each(inProcess("", func(n int) error {
		for range n {
			copy(to, from)
		}
		return nil
	}))
	if err != nil {
		return err
	}
	p.report.atLeast("column copies", "into a plugin", fmt.Sprintf("GB/s (a plain copy of the same %d KB: %.1f)", int(bytes)>>10, bytes/plain/1e9), bytes/took/1e9, leastCopies)
	return nil
}

const hashing, hostKernel, nativeLoop = "hashing with SHA-256", "kernel of the host", "the same loop in Go"

// measureHashing compares the kernel with the plainest loop.
func (p *pluginBench) measureHashing(ctx context.Context) error {
	p.say(hashing)
	b, err := bundle.Resolve("mask", ".")
	if err != nil {
		return err
	}
	c, err := p.load(ctx, b.Module, `{"columns": ["email"]}`, p.table)
	if err != nil {
		return err
	}
	defer c.plugin.Close(ctx)
	email := p.table.Rows.Column(1).(*array.String)
	loop := func(n int) error {
		for range n {
			offsets, data := make([]int32, 1, email.Len()+1), make([]byte, 0, 64*email.Len())
			for row := range email.Len() {
				sum := sha256.Sum256([]byte(email.Value(row)))
				data = hex.AppendEncode(data, sum[:])
				offsets = append(offsets, int32(len(data)))
			}
		}
		return nil
	}
	err = p.race(ctx, hashing, benchRows, 50*time.Millisecond, []runner{
		inProcess(nativeLoop, loop),
		inProcess(hostKernel, func(n int) error { return c.pass(ctx, p.table, n) }),
	})
	p.report.of(hashing).compare(hostKernel, nativeLoop, leastHashing)
	return err
}

// startedPlugin is a plugin of the start with the settings that it plans with.
type startedPlugin struct {
	name, config string
	code         []byte
}

// bundledTransforms are carried out by the host.
var bundledTransforms = []startedPlugin{
	{name: "array-to-varchar", config: `{}`}, {name: "convert", config: `{"readable": ["arrays"]}`}, {name: "database-name", config: `{}`},
	{name: "fields", config: `{"drop": ["note"]}`}, {name: "filter", config: `{"where": "id > 0"}`},
	{name: "json", config: `{"column": "note", "fields": [{"name": "city", "path": "$.city"}]}`}, {name: "mask", config: `{"columns": ["email"]}`},
	{name: "merge-tables", config: `{}`}, {name: "route", config: `{"routes": [{"where": "id > 0", "table": "active"}]}`}, {name: "text", config: `{"columns": ["email"], "trim": true}`},
}

// measureStart starts ten plugins in a new host, whose cache knows them and
// does not: the bundled transforms, and ten that compute.
func (p *pluginBench) measureStart(ctx context.Context) error {
	bundled := slices.Clone(bundledTransforms)
	for i := range bundled {
		b, err := bundle.Resolve(bundled[i].name, ".")
		if err != nil {
			return err
		}
		bundled[i].code = b.Module
	}
	var computing []startedPlugin
	for _, language := range []compile.Language{compile.Go, compile.C} {
		for _, e := range examples[:min(len(examples), 10-len(computing))] {
			code, err := p.example(ctx, e.name, language)
			if err != nil {
				return err
			}
			computing = append(computing, startedPlugin{e.name, e.config, code})
		}
	}
	return errors.Join(p.raceStart(ctx, "starting the ten bundled plugins", bundled), p.raceStart(ctx, "starting ten plugins that compute", computing))
}

func (p *pluginBench) raceStart(ctx context.Context, title string, plugins []startedPlugin) error {
	p.say(title)
	cache := filepath.Join(p.dir, "start")
	cold, _, err := p.startAll(ctx, cache, plugins)
	if err != nil {
		return err
	}
	var walls, cpus []float64
	for range p.turns {
		wall, cpu, err := p.startAll(ctx, cache, plugins)
		if err != nil {
			return err
		}
		walls, cpus = append(walls, 1000*wall), append(cpus, 1000*cpu)
	}
	p.report.atMost(title, "cache warm", fmt.Sprintf("milliseconds (processor time %.0f; cache cold: %.0f)", median(cpus), 1000*cold), median(walls), mostStart)
	return os.RemoveAll(cache)
}

// startAll loads plugins, side by side as the engine does, and has each plan a
// table.
func (p *pluginBench) startAll(ctx context.Context, cache string, plugins []startedPlugin) (wall, cpu float64, err error) {
	began, before := time.Now(), ownCPU()
	host, err := wasm.NewHost(ctx, wasm.Config{CacheDir: cache})
	if err != nil {
		return 0, 0, err
	}
	var g errgroup.Group
	for _, s := range plugins {
		g.Go(func() error {
			t, err := host.Transform(ctx, s.code, wasm.Plugin{Name: s.name, Version: "1.0.0", Config: json.RawMessage(s.config)})
			if err == nil {
				_, err = t.Plan(ctx, wasm.PlanInput{Schema: p.table.Schema, Databases: []string{p.table.Schema.Table.Database}})
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, 0, errors.Join(err, host.Close(ctx))
	}
	wall, cpu = time.Since(began).Seconds(), ownCPU()-before
	return wall, cpu, host.Close(ctx)
}
