package golden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
	"github.com/leat-etl/leat/plugins/workbench/textbatch"
)

// PluginOf is what the host has to know of a bundle to run it with the
// settings of a case, of which the guest sees its own part.
func PluginOf(b *bundle.Bundle, c *Case) (wasm.Plugin, error) {
	return pluginOf(b, c.Settings(), ".")
}

func pluginOf(b *bundle.Bundle, settings json.RawMessage, dir string) (wasm.Plugin, error) {
	guest, private, err := bundle.SplitConfig(b.Manifest, settings, dir)
	if err != nil {
		return wasm.Plugin{}, err
	}
	l := b.Manifest.Limits.Or(bundle.DefaultLimits)
	p := wasm.Plugin{
		Name: b.Manifest.Name, Version: b.Manifest.Version, Digest: b.Digest, Config: guest, Grants: Grants(b.Manifest),
		Limits: wasm.Limits{MemoryBytes: uint64(l.Memory), Fuel: uint64(l.Fuel), Deadline: l.Deadline},
	}
	return p, json.Unmarshal(private, &p.Settings)
}

// errUnexpected is what a case did not expect.
type errUnexpected string

func (e errUnexpected) Error() string { return string(e) }

func unexpected(format string, args ...any) error { return errUnexpected(fmt.Sprintf(format, args...)) }

// Transform runs a case against a transform. The error says what came out
// otherwise, over several lines.
func Transform(ctx context.Context, h *wasm.Host, b *bundle.Bundle, f *File, c *Case) error {
	r := &transformRun{file: f, expected: c}
	err := r.run(ctx, h, b)
	var other errUnexpected
	if errors.As(err, &other) {
		return err
	}
	return r.expected.settle(err)
}

// settle compares how a case ended with the error that it expects.
func (c *Case) settle(err error) error {
	switch {
	case c.Error == "" && err == nil:
		return nil
	case c.Error == "":
		return unexpected("%v", err)
	case err == nil:
		return unexpected("expected the error %q, but there was none", c.Error)
	case !strings.Contains(err.Error(), c.Error):
		return unexpected("expected the error %q, but it is\n%v", c.Error, err)
	}
	return nil
}

// transformRun is one case on its way.
type transformRun struct {
	file     *File
	expected *Case
	plan     *wasm.Plan
}

func (r *transformRun) run(ctx context.Context, h *wasm.Host, b *bundle.Bundle) error {
	c := r.expected
	if err := bundle.ValidateConfig(b.Manifest, c.Settings()); err != nil {
		return err
	}
	plugin, err := PluginOf(b, c)
	if err != nil {
		return err
	}
	t, err := h.Transform(ctx, b.Module, plugin)
	if err != nil {
		return err
	}
	defer t.Close(ctx)
	s, err := c.Schema()
	if err != nil {
		return err
	}
	databases := r.file.Databases
	if databases == nil {
		databases = []string{s.Table.Database}
	}
	if r.plan, err = t.Plan(ctx, wasm.PlanInput{Schema: s, Databases: databases}); err != nil {
		return err
	}
	if c.Sees != nil && !slices.Equal(c.Sees, r.plan.Sees) && len(c.Sees)+len(r.plan.Sees) > 0 {
		return unexpected("the plugin sees the columns %q, expected %q", r.plan.Sees, c.Sees)
	}
	if len(c.Inputs) == 0 {
		return nil
	}
	g, err := textbatch.Parse(c.Inputs[0])
	if err != nil {
		return unexpected("input: %v", err)
	}
	in, err := g.Batch(s)
	if err != nil {
		return unexpected("input: %v", err)
	}
	defer in.Release()
	result, err := t.Process(ctx, r.plan, in)
	if err != nil {
		return err
	}
	defer func() {
		for _, out := range result.Batches {
			out.Release()
		}
	}()
	if c.Error != "" {
		return nil // settle says that there was none
	}
	return r.compare(result)
}

// compare holds a result against what the case expects.
func (r *transformRun) compare(result wasm.Result) error {
	var wrong []string
	if text := r.refusals(result.Failed); text != "" {
		wrong = append(wrong, text)
	}
	c := r.expected
	want := slices.Clone(c.Outputs)
	if c.Output != "" {
		want = append([]Output{{Table: "", Rows: c.Output}}, want...)
	}
	seen := map[*batch.Schema]bool{}
	for _, o := range want {
		s := r.outputOf(o.Table)
		if s == nil {
			return unexpected("the plan has no output table %s; it has %s", o.Table, r.outputNames())
		}
		seen[s] = true
		text, err := r.compareOne(s, o, result)
		if err != nil {
			return err
		}
		if text != "" {
			wrong = append(wrong, text)
		}
	}
	for _, out := range result.Batches {
		if !seen[out.Schema] && len(want) > 0 {
			wrong = append(wrong, fmt.Sprintf("%d rows went to %s, which the case does not name", out.Len(), nameOf(out.Schema)))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return errUnexpected(strings.Join(wrong, "\n"))
}

func (r *transformRun) compareOne(s *batch.Schema, o Output, result wasm.Result) (string, error) {
	want, err := textbatch.Parse(o.Rows)
	if err != nil {
		return "", unexpected("output: %v", err)
	}
	got := &textbatch.Grid{Head: []string{"op"}}
	for _, c := range s.Columns {
		got.Head = append(got.Head, textbatch.Quote(c.Name))
	}
	for _, out := range result.Batches {
		if out.Schema == s {
			if got, err = textbatch.Of(out); err != nil {
				return "", err
			}
		}
	}
	if text := textbatch.Diff(want, got); text != "" {
		return fmt.Sprintf("%s is not as expected (- expected, + what came out)\n%s", nameOf(s), text), nil
	}
	return "", nil
}

// outputOf finds an output of the plan by its name, the first one without.
func (r *transformRun) outputOf(name string) *batch.Schema {
	for _, s := range r.plan.Outputs {
		if name == "" || name == nameOf(s) || name == s.Table.Name || name == s.Table.String() {
			return s
		}
	}
	return nil
}

func (r *transformRun) outputNames() string {
	if len(r.plan.Outputs) == 0 {
		return "none"
	}
	var names []string
	for _, s := range r.plan.Outputs {
		names = append(names, nameOf(s))
	}
	return strings.Join(names, ", ")
}

func nameOf(s *batch.Schema) string {
	if s.Table.Schema == "" {
		return s.Table.Name
	}
	return s.Table.Schema + "." + s.Table.Name
}

// refusals compares the rows that failed with those that were to fail.
func (r *transformRun) refusals(failed []wasm.RowError) string {
	want := map[int]string{}
	for _, f := range r.expected.Failed {
		want[f.Row] = f.Message
	}
	var wrong []string
	for _, f := range failed {
		message, ok := want[f.Row+1]
		delete(want, f.Row+1)
		switch {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("row %d failed: %s", f.Row+1, f.Message))
		case !strings.Contains(f.Message, message):
			wrong = append(wrong, fmt.Sprintf("row %d failed with %q, expected %q", f.Row+1, f.Message, message))
		}
	}
	for _, f := range r.expected.Failed {
		if _, left := want[f.Row]; left {
			wrong = append(wrong, fmt.Sprintf("row %d did not fail", f.Row))
		}
	}
	return strings.Join(wrong, "\n")
}
