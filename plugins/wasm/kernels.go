package wasm

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/kernel"
)

// KernelUse says what a kernel of a plan reads.
type KernelUse struct {
	Kernel  string   `json:"kernel"`
	Columns []string `json:"columns"`
}

// planKernel is a kernel as a plan names it.
type planKernel struct {
	Kernel     string          `json:"kernel"`
	Inputs     []kernelInput   `json:"inputs"`
	Parameters json.RawMessage `json:"parameters"`
}

// kernelInput is a column of the table or the result of an earlier kernel.
type kernelInput struct {
	Column *int `json:"column"`
	Kernel *int `json:"kernel"`
}

// boundKernel is a kernel with its inputs: columns count from 0, results of
// kernels before it from -1 downwards.
type boundKernel struct {
	*kernel.Kernel
	inputs []int
}

// maxKernels bounds the kernels of a plan, maxKernelInputs the inputs of all
// of them together.
const (
	maxKernels      = 4096
	maxKernelInputs = 1 << 16
	maxKernelSteps  = 100_000 // of what their patterns and expressions compile to
)

// bindKernels checks the kernels of a plan in their order.
func (p *Plan) bindKernels(asked []planKernel, plugin *Plugin) error {
	if len(asked) > maxKernels {
		return fmt.Errorf("it has %d kernels, the most are %d", len(asked), maxKernels)
	}
	total, steps := 0, 0
	for k := range asked {
		if total += len(asked[k].Inputs); total > maxKernelInputs {
			return fmt.Errorf("its kernels have more than %d inputs", maxKernelInputs)
		}
		if err := p.bindKernel(&asked[k], plugin); err != nil {
			return fmt.Errorf("kernel %d: %w", k, err)
		}
		if steps += p.kernels[k].Steps; steps > maxKernelSteps {
			return fmt.Errorf("the patterns and expressions of its kernels compile to more than %d steps", maxKernelSteps)
		}
	}
	return nil
}

func (p *Plan) bindKernel(asked *planKernel, plugin *Plugin) error {
	bound := boundKernel{inputs: make([]int, len(asked.Inputs))}
	inputs := make([]kernel.Input, len(asked.Inputs))
	for i, in := range asked.Inputs {
		switch {
		case (in.Column == nil) == (in.Kernel == nil):
			return fmt.Errorf("input %d is neither a column nor a kernel, or both", i)
		case in.Column != nil:
			if *in.Column < 0 || *in.Column >= len(p.input.Columns) {
				return fmt.Errorf("input %d is column %d of a table with %d", i, *in.Column, len(p.input.Columns))
			}
			c := &p.input.Columns[*in.Column]
			bound.inputs[i], inputs[i] = *in.Column, kernel.Input{Name: c.Name, Type: c.Type, PG: c.PG}
		default:
			if *in.Kernel < 0 || *in.Kernel >= len(p.kernels) {
				return fmt.Errorf("input %d is the result of kernel %d, which is not before this one", i, *in.Kernel)
			}
			bound.inputs[i], inputs[i] = -1-*in.Kernel, kernel.Input{Type: p.kernels[*in.Kernel].Output}
		}
	}
	var err error
	if bound.Kernel, err = kernel.Bind(asked.Kernel, inputs, asked.Parameters, plugin.Settings); err != nil {
		return err
	}
	use := KernelUse{Kernel: bound.Name, Columns: []string{}}
	for _, i := range bound.Uses {
		if inputs[i].Name == "" {
			continue
		}
		if !plugin.mayUse(inputs[i].Name) {
			return fmt.Errorf("it works on column %q, which the pipeline does not grant to the plugin", inputs[i].Name)
		}
		use.Columns = append(use.Columns, inputs[i].Name)
	}
	p.kernels, p.Kernels = append(p.kernels, bound), append(p.Kernels, use)
	return nil
}

// ComputesFrom says whether the guest or a kernel is given a column.
func (p *Plan) ComputesFrom(column string) bool {
	return slices.Contains(p.Sees, column) || slices.ContainsFunc(p.Kernels, func(k KernelUse) bool { return slices.Contains(k.Columns, column) })
}

// hostRoutes says that the host chooses the rows of every output.
func (p *Plan) hostRoutes() bool {
	for _, where := range p.wheres {
		if where < 0 {
			return false
		}
	}
	return len(p.wheres) > 0
}

// checkWheres makes sure that either the guest or the host chooses rows.
func (p *Plan) checkWheres() error {
	chosen := 0
	for _, where := range p.wheres {
		if where >= 0 {
			chosen++
		}
	}
	if chosen == 0 {
		return nil
	}
	if p.filters || chosen < len(p.wheres) {
		return errors.New("an output has a where: then every output has one, and the plugin does not filter")
	}
	return nil
}

// runKernels computes the kernels of a plan over all rows of a batch. Rows
// that fail join those that the guest failed.
func (t *Transform) runKernels(p *Plan, b *batch.Batch, r *result) error {
	if len(p.kernels) == 0 {
		return nil
	}
	failures := make([]kernel.Failures, len(p.kernels))
	deadline := t.module.plugin.Limits.Deadline
	until := time.Now().Add(deadline)
	for k := range p.kernels {
		bound := &p.kernels[k]
		in := make([]kernel.Column, len(bound.inputs))
		for i, from := range bound.inputs {
			if from < 0 {
				in[i] = r.kernels[-1-from]
			} else {
				in[i] = kernel.Column{Array: b.Rows.Column(from), Present: b.Present[from]}
			}
		}
		column, failed, err := bound.Run(in, b.Len(), kernel.Bounds{Bytes: int(min(r.allowance.left, batch.MaxColumnBytes)), Until: until})
		if err == nil {
			r.kernels, failures[k] = append(r.kernels, column), failed
			err = r.allowance.take(int64(column.Size()))
		}
		if err == nil {
			continue
		}
		r.releaseKernels()
		switch {
		case errors.Is(err, kernel.ErrTooLarge):
			err = &overAllowance{fmt.Sprintf("its results are larger than the plugin's memory of %d bytes and %d times the batch", t.module.plugin.Limits.MemoryBytes, batchesAllowed)}
		case errors.Is(err, kernel.ErrTooLong):
			return t.module.failure("process", KindDeadline, "kernel %s: the kernels of the plan take more than %s", bound.Name, deadline)
		}
		return t.module.failure("process", kindOf(err), "kernel %s: %v", bound.Name, err)
	}
	p.failKernels(b, r, failures)
	return nil
}

func (r *result) releaseKernels() {
	for _, c := range r.kernels {
		c.Array.Release()
	}
	r.kernels = nil
}
