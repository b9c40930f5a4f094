package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench"
	"github.com/leat-etl/leat/plugins/workbench/compile"
	"github.com/leat-etl/leat/plugins/workbench/watch"
)

// authorOptions are those of every verb of the author's loop.
type authorOptions struct {
	noBuild, watch bool
}

func (o *authorOptions) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.noBuild, "no-build", false, "take the module as it is, without compiling the sources")
	cmd.Flags().BoolVar(&o.watch, "watch", false, "do it again whenever a file of the plugin is saved, until stopped")
}

func (p *program) pluginTestCommand() *cobra.Command {
	var o authorOptions
	var seed uint64
	cmd := &cobra.Command{
		Use:   "test [FOLDER]",
		Short: "Test a plugin on this machine",
		Long: `Test compiles the plugin in a folder and runs the cases in its folder tests,
*.toml: batches that go in, and what has to come out, cell by cell.

Then it tries cases of its own: nulls, unchanged cells, the extremes of every type,
unusual texts, every operation, changes of the key. A plugin may not trap, may not
break the interface, may not make null or a value of what the source did not send,
must answer the same every time, and the same for a batch as for its halves. A
destination runs against an embedded database, and the rows it reads back are
compared with a model.

Exit code 5 if a case fails.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("seed") {
				seed = rand.Uint64() >> 11 // a number that JSON readers keep exactly
			}
			dir := folderOf(args)
			return p.again(cmd.Context(), dir, o, func(ctx context.Context, h *wasm.Host, b *bundle.Bundle) error {
				return p.tryPlugin(ctx, h, b, dir, seed)
			})
		},
	}
	o.flags(cmd)
	cmd.Flags().Uint64Var(&seed, "seed", 0, "make the same cases as a run that printed this seed")
	cmd.AddCommand(p.pluginCapsuleCommand())
	return cmd
}

// tryPlugin tests once and prints what came of it.
func (p *program) tryPlugin(ctx context.Context, h *wasm.Host, b *bundle.Bundle, dir string, seed uint64) error {
	r, err := workbench.Test(ctx, h, b, dir, seed)
	if err != nil {
		return asPluginError(dir, err)
	}
	if p.json {
		err = json.NewEncoder(p.out).Encode(r)
	} else {
		p.printCases(r)
	}
	if err == nil && r.Failed() > 0 {
		err = errReported(exitPlugin)
	}
	return err
}

func (p *program) printCases(r *workbench.Report) {
	group := ""
	for _, one := range r.Results {
		if one.Group != group {
			group = one.Group
			fmt.Fprintln(p.out, group)
		}
		if one.Passed {
			fmt.Fprintf(p.out, "  ok    %s\n", one.Case)
			continue
		}
		fmt.Fprintf(p.out, "  FAIL  %s\n        %s\n", one.Case, hanging(strings.TrimRight(one.Detail, "\n"), 8))
	}
	fmt.Fprintf(p.out, "%s: %d passed, %d failed; seed %d\n", r.Plugin, len(r.Results)-r.Failed(), r.Failed(), r.Seed)
}

// again builds and opens the plugin of a folder and does something with it:
// once, or with --watch at every save. What fails while watching is told and
// does not end it.
func (p *program) again(ctx context.Context, dir string, o authorOptions, do func(context.Context, *wasm.Host, *bundle.Bundle) error) error {
	h, err := p.pluginHost(ctx)
	if err != nil {
		return err
	}
	defer h.Close(context.WithoutCancel(ctx))
	once := func() error {
		b, err := p.openPlugin(ctx, dir, o.noBuild)
		if err != nil {
			return err
		}
		return do(ctx, h, b)
	}
	if !o.watch {
		return once()
	}
	w, err := watch.New(dir, o.noBuild)
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		if err := once(); err != nil {
			if ctx.Err() != nil {
				return nil // stopped in it, as asked for
			}
			report(p.err, err)
		}
		fmt.Fprintf(p.err, "waiting for changes in %s\n", dir)
		if err := w.Next(ctx); err != nil {
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
	}
}

// openPlugin opens the plugin in a folder, compiled anew if its sources are
// there, or one that is named otherwise.
func (p *program) openPlugin(ctx context.Context, dir string, noBuild bool) (*bundle.Bundle, error) {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		if _, err := compile.Detect(dir); err == nil && !noBuild {
			b, _, err := p.buildPlugin(ctx, dir, "")
			return b, err
		}
		if !filepath.IsAbs(dir) {
			dir = "." + string(filepath.Separator) + dir
		}
	}
	b, err := bundle.Resolve(dir, ".")
	return b, asPluginError(dir, err)
}

// pluginHost starts a host outside of a pipeline, with the same cache.
func (p *program) pluginHost(ctx context.Context) (*wasm.Host, error) {
	cache, err := engine.PluginCache()
	if err != nil {
		return nil, err
	}
	return wasm.NewHost(ctx, wasm.Config{CacheDir: cache, Log: p.log(spec.Log{Level: "info"})})
}
