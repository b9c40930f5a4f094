package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/server"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/state"
)

// load reads a pipeline file and prints its warnings.
func (p *program) load(path string) (*spec.Spec, error) {
	s, err := spec.Load(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, errUsage{fmt.Errorf("pipeline file %s does not exist: leat init DSN writes one", path)}
		}
		return nil, err
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(p.err, "warning: %s\n", w)
	}
	return s, nil
}

func (p *program) options(s *spec.Spec) engine.Options {
	return engine.Options{StateDir: p.stateDir, Log: p.log(s.Log)}
}

// running returns a client of the engine that runs the pipeline, nil if none
// does.
func (p *program) running(s *spec.Spec) (*server.Client, error) {
	store, err := state.OpenReadOnly(engine.StateDir(s, p.stateDir), state.Options{Pipeline: s.Name})
	if err == nil {
		return nil, store.Close()
	}
	var locked *state.LockedError
	if errors.As(err, &locked) {
		if locked.Holder.Socket == "" {
			return nil, err
		}
		return server.Dial(locked.Holder.Socket), nil
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return nil, err
}

// held says whether another process has the state folder of the pipeline.
func (p *program) held(s *spec.Spec) (bool, error) {
	client, err := p.running(s)
	var locked *state.LockedError
	if errors.As(err, &locked) {
		return true, nil // it is just starting, or another verb is at work
	}
	return client != nil, err
}

// locate reads a pipeline file and finds the engine that runs it, nil if none
// does.
func (p *program) locate(path string) (*spec.Spec, *server.Client, error) {
	s, err := p.load(path)
	if err != nil {
		return nil, nil, err
	}
	client, err := p.running(s)
	return s, client, err
}

// stopped opens the state folder of a pipeline that does not run, for reading.
func (p *program) stopped(s *spec.Spec) (*state.Store, error) {
	store, err := state.OpenReadOnly(engine.StateDir(s, p.stateDir), state.Options{Pipeline: s.Name})
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("pipeline %q has never run: leat run %s", s.Name, s.Path)
	}
	return store, err
}

// stoppedForWriting opens the state folder of a pipeline that does not run, to
// note what it is to do.
func (p *program) stoppedForWriting(s *spec.Spec) (*state.Store, error) {
	store, err := p.stopped(s) // makes no folder where there is none
	if err == nil {
		err = store.Close()
	}
	if err != nil {
		return nil, err
	}
	return state.Open(engine.StateDir(s, p.stateDir), state.Options{Pipeline: s.Name, Log: p.log(s.Log)})
}

// withPipeline opens a pipeline that does not run, for one operation on it.
func (p *program) withPipeline(ctx context.Context, s *spec.Spec, do func(*engine.Pipeline) error) error {
	pipeline, err := engine.Open(ctx, s, p.options(s))
	if err != nil {
		return err
	}
	err = do(pipeline)
	return errors.Join(err, pipeline.Close(context.WithoutCancel(ctx)))
}
