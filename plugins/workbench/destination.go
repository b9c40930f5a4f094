package workbench

import (
	"context"
	"errors"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/golden"
	"github.com/leat-etl/leat/plugins/workbench/property"
)

func (r *Report) testDestination(ctx context.Context, h *wasm.Host, b *bundle.Bundle, files []*golden.File) error {
	tried := map[string]bool{}
	for _, f := range files {
		for i := range f.Cases {
			c := &f.Cases[i]
			r.add(f.Name(), c.Name, golden.Destination(ctx, h, b, c))
			if key := string(c.Settings()); c.Error == "" && !tried[key] && golden.Embedded(b) {
				tried[key] = true
				if err := r.tryDestination(ctx, h, b, c, `settings as in "`+c.Name+`"`); err != nil {
					return err
				}
			}
		}
	}
	if len(files) == 0 && golden.Embedded(b) {
		bare := golden.Bare
		return r.tryDestination(ctx, h, b, &bare, "without settings")
	}
	return nil
}

func (r *Report) tryDestination(ctx context.Context, h *wasm.Host, b *bundle.Bundle, c *golden.Case, name string) error {
	problems, err := property.Destination(ctx, h, b, c, r.Seed)
	if err != nil {
		return err
	}
	for _, p := range problems {
		r.add(name, p.Batch, errors.New(p.Detail))
	}
	if len(problems) == 0 {
		r.add(name, "changes of the host's own", nil)
	}
	return nil
}
