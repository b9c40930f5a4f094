package pdk

// KernelColumn is a column that RunKernel works on. Of Column the format counts,
// the name where the kernel names its columns, and the type where it reads the
// text of one.
type KernelColumn struct {
	Column Column
	View   View
}

// KernelResult is what a kernel made of columns. Rows that it could not work on
// are absent in View.
type KernelResult struct {
	Format string
	View   View
	Failed []FailedRow
}

// FailedRow is a row that a kernel could not work on, and why.
type FailedRow struct {
	Row     int
	Message string
}

// kernelRequest is the request of kernel_run.
type kernelRequest struct {
	Kernel     string            `json:"kernel"`
	Parameters any               `json:"parameters,omitempty"`
	Rows       int               `json:"rows"`
	Inputs     []kernelRunColumn `json:"inputs"`
}

type kernelRunColumn struct {
	Name     string `json:"name"`
	Format   string `json:"format"`
	PG       PGType `json:"pg_type"`
	Array    uint32 `json:"array"`
	Presence uint32 `json:"presence"`
}

// RunKernel has the host compute a kernel of pdk/README.md at once, over columns
// of one length: those of a Batch, of a ColumnBuilder, or another result. What
// the plan can say beforehand costs less there, see Plan.Kernel. Outside
// WebAssembly there is no host that has kernels.
func RunKernel(name string, parameters any, inputs ...KernelColumn) (*KernelResult, error) {
	r := &kernelRequest{Kernel: name, Parameters: parameters}
	for _, in := range inputs {
		r.Rows = in.View.n
		r.Inputs = append(r.Inputs, kernelRunColumn{Name: in.Column.Name, Format: in.Column.Format, PG: in.Column.PG})
	}
	return runKernel(r, inputs)
}
