package pdk

// Kernel is a function over whole columns that the host runs for the plugin at
// native speed: no cell enters the plugin, and a plan with nothing but kernels
// is never called. pdk/README.md lists the kernels and their parameters.
type Kernel struct {
	Name   string        `json:"kernel"`
	Inputs []KernelInput `json:"inputs"`
	// Parameters are encoded as JSON; nil is none.
	Parameters any `json:"parameters,omitempty"`
}

// KernelInput is an input column or the result of an earlier kernel; use
// InputColumn or Result.
type KernelInput struct {
	Column *int `json:"column,omitempty"`
	Kernel *int `json:"kernel,omitempty"`
}

// InputColumn gives a kernel input column i of the table.
func InputColumn(i int) KernelInput { return KernelInput{Column: &i} }

// Result gives a kernel the result of kernel k.
func Result(k int) KernelInput { return KernelInput{Kernel: &k} }

// FromKernel takes the result of kernel k, see Plan.Kernel.
func FromKernel(k int) From { return From{Kernel: &k} }

// Setting is a kernel's parameter that only the host knows: the setting of
// this name, which the plugin's schema marks with "x-leat-host": true.
type Setting struct {
	Name string `json:"setting"`
}

// Kernel adds a kernel to the plan and returns its index for FromKernel,
// Result and Table.Where.
func (p *Plan) Kernel(name string, parameters any, inputs ...KernelInput) int {
	p.Kernels = append(p.Kernels, Kernel{Name: name, Inputs: inputs, Parameters: parameters})
	return len(p.Kernels) - 1
}

// RewriteByKernel replaces column i of the first output by what a kernel makes
// of it. The caller sets format and type where the kernel's result has others.
func (p *Plan) RewriteByKernel(i int, name string, parameters any) {
	c := &p.Outputs[0].Columns[i]
	in := InputColumn(i)
	if c.From.Kernel != nil {
		in = Result(*c.From.Kernel)
	}
	c.From = FromKernel(p.Kernel(name, parameters, in))
}

// Choose has the host choose the rows of an output by a kernel of boolean
// result; then every output of the plan needs one. pdk/README.md says what
// becomes of updates.
func (p *Plan) Choose(output int, name string, parameters any, inputs ...KernelInput) {
	k := p.Kernel(name, parameters, inputs...)
	p.Outputs[output].Where = &k
}

// AllColumns are the columns of a table as inputs, for the kernel expression: it
// reads only those that it names.
func AllColumns(s *Schema) []KernelInput {
	inputs := make([]KernelInput, len(s.Columns))
	for i := range inputs {
		inputs[i] = InputColumn(i)
	}
	return inputs
}
