package main

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/plugins/workbench/compile"
	"github.com/leat-etl/leat/plugins/workbench/watch"
)

// develop watches the folders of the pipelines' own transforms and the pipeline
// files, and swaps each plugin that changes or gets other settings, until ctx
// ends.
func (p *program) develop(ctx context.Context, g *errgroup.Group, pipelines []*engine.Pipeline) error {
	n := 0
	for _, pipeline := range pipelines {
		plugins, err := pipeline.PathPlugins()
		if err != nil {
			return err
		}
		for _, one := range plugins {
			_, noSources := compile.Detect(one.Dir)
			w, err := watch.New(one.Dir, noSources != nil)
			if err != nil {
				return err
			}
			n++
			g.Go(func() error {
				defer w.Close()
				return p.follow(ctx, w, pipeline, one)
			})
		}
		w, err := watch.File(pipeline.Spec.Path)
		if err != nil {
			return err
		}
		g.Go(func() error {
			defer w.Close()
			return p.followFile(ctx, w, pipeline)
		})
	}
	if n == 0 {
		fmt.Fprintln(p.err, `--dev: no transform of the pipeline is named by its path, for example plugin = "./my-plugin": only the pipeline file is watched`)
	}
	return nil
}

// follow swaps one plugin at every change of its folder. What does not build,
// load or plan is told, and the plugin that runs stays.
func (p *program) follow(ctx context.Context, w *watch.Folder, pipeline *engine.Pipeline, one engine.PathPlugin) error {
	log := p.log(pipeline.Spec.Log).With("plugin", one.Dir)
	log.Info("watching the plugin for changes")
	for {
		if err := next(ctx, w); err != nil || ctx.Err() != nil {
			return err
		}
		changed, err := p.rebuild(ctx, pipeline, one)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.Error("the changed plugin is not taken: the one before it goes on", "error", err)
		case !changed:
			log.Info("the plugin is as it was")
		}
	}
}

// next waits for a change; the end of ctx is no error.
func next(ctx context.Context, w *watch.Folder) error {
	if err := w.Next(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// rebuild compiles a plugin if its sources are there and has the pipeline take
// it.
func (p *program) rebuild(ctx context.Context, pipeline *engine.Pipeline, one engine.PathPlugin) (changed bool, err error) {
	if _, err := compile.Detect(one.Dir); err == nil {
		if _, _, err := p.buildPlugin(ctx, one.Dir, ""); err != nil {
			return false, err
		}
	}
	now, err := p.load(pipeline.Spec.Path)
	if err != nil {
		return false, err
	}
	return pipeline.Reload(ctx, one.Place, now)
}

// followFile swaps the transforms whose settings, columns, limits or grants are
// not what they were, at every change of the pipeline file.
func (p *program) followFile(ctx context.Context, w *watch.Folder, pipeline *engine.Pipeline) error {
	log := p.log(pipeline.Spec.Log).With("file", pipeline.Spec.Path)
	for {
		if err := next(ctx, w); err != nil || ctx.Err() != nil {
			return err
		}
		n, err := p.takeSettings(ctx, pipeline)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.Error("the changed pipeline file is not taken: what runs goes on", "error", err)
		case n == 0:
			log.Info("the transforms of the pipeline file are as they were; what else has changed counts at the next start")
		}
	}
}

// takeSettings has the pipeline take the transforms of its file and returns how
// many have changed.
func (p *program) takeSettings(ctx context.Context, pipeline *engine.Pipeline) (n int, err error) {
	now, err := p.load(pipeline.Spec.Path)
	if err != nil {
		return 0, err
	}
	for place := range now.Transforms {
		changed, err := pipeline.Reload(ctx, place, now)
		if err != nil {
			return n, err
		}
		if changed {
			n++
		}
	}
	return n, nil
}
