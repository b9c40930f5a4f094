//go:build wasip1

// Command browser is the kernels as one module, which the playground of a
// marketplace's site runs beside a plugin's own: what a page shows is what Leat
// computes. It is a reactor; its calls take and give JSON as section 2 of
// pdk/README.md says.
package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/plugins/kernel"
)

func main() {}

// request is a table and the kernels of a plan over it. Cells are as PostgreSQL
// prints them, nil is NULL.
type request struct {
	Rows    int `json:"rows"`
	Columns []struct {
		Name   string       `json:"name"`
		Format string       `json:"format"`
		PG     batch.PGType `json:"pg_type"`
		Cells  []*string    `json:"cells"`
	} `json:"columns"`
	Kernels []struct {
		Kernel     string          `json:"kernel"`
		Inputs     []input         `json:"inputs"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"kernels"`
	Settings kernel.Settings `json:"settings"`
}

type input struct {
	Column *int `json:"column"`
	Kernel *int `json:"kernel"`
}

// reply has the cells of each kernel's result, and of each the rows that it
// could not compute.
type reply struct {
	Results [][]*string      `json:"results"`
	Failed  []map[int]string `json:"failed"`
}

// column is an input with what a kernel is told of it.
type column struct {
	kernel.Input
	kernel.Column
}

var in, out []byte

//go:wasmexport leat_alloc
func alloc(size uint32) unsafe.Pointer {
	in = slices.Grow(in[:0], int(size)+1)
	return unsafe.Pointer(unsafe.SliceData(in))
}

//go:wasmexport leat_kernels
func kernels(at unsafe.Pointer, size uint32) uint64 {
	answer := map[string]any{}
	if r, err := compute(unsafe.Slice((*byte)(at), size)); err != nil {
		answer["error"] = map[string]string{"message": err.Error()}
	} else {
		answer["ok"] = r
	}
	out, _ = json.Marshal(answer) // texts and lists of texts always encode
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(out))))<<32 | uint64(len(out))
}

func compute(text []byte) (*reply, error) {
	var r request
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	var columns, results []column
	for _, c := range r.Columns {
		t, err := batch.ParseFormat(c.Format)
		if err != nil {
			return nil, err
		}
		cells, err := arrayOf(t, c.Cells)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c.Name, err)
		}
		columns = append(columns, column{kernel.Input{Name: c.Name, Type: t, PG: c.PG}, kernel.Column{Array: cells}})
	}
	answer := &reply{Results: [][]*string{}, Failed: []map[int]string{}}
	for i, k := range r.Kernels {
		var inputs []column
		for _, from := range k.Inputs {
			switch {
			case from.Column != nil && *from.Column >= 0 && *from.Column < len(columns):
				inputs = append(inputs, columns[*from.Column])
			case from.Kernel != nil && *from.Kernel >= 0 && *from.Kernel < i:
				inputs = append(inputs, results[*from.Kernel])
			default:
				return nil, fmt.Errorf("kernel %d: an input is not there", i)
			}
		}
		made, failed, err := run(k.Kernel, inputs, k.Parameters, r.Settings, r.Rows)
		if err != nil {
			return nil, err
		}
		cells, err := printed(made, r.Rows)
		if err != nil {
			return nil, err
		}
		if failed == nil {
			failed = kernel.Failures{}
		}
		results, answer.Results, answer.Failed = append(results, made), append(answer.Results, cells), append(answer.Failed, failed)
	}
	return answer, nil
}

func run(name string, from []column, parameters json.RawMessage, settings kernel.Settings, rows int) (column, kernel.Failures, error) {
	var inputs []kernel.Input
	var cells []kernel.Column
	for _, c := range from {
		inputs, cells = append(inputs, c.Input), append(cells, c.Column)
	}
	k, err := kernel.Bind(name, inputs, parameters, settings)
	if err != nil {
		return column{}, nil, err
	}
	result, failed, err := k.Run(cells, rows, kernel.Bounds{Bytes: batch.MaxColumnBytes})
	return column{kernel.Input{Type: k.Output}, result}, failed, err
}

// printed is a result as PostgreSQL prints it.
func printed(c column, rows int) ([]*string, error) {
	if c.Type.ID() != arrow.STRING {
		var err error
		if c, _, err = run("cast", []column{c}, json.RawMessage(`{"to": "u"}`), nil, rows); err != nil {
			return nil, err
		}
	}
	cells := make([]*string, rows)
	texts := c.Array.(*array.String)
	for i := range cells {
		if texts.IsValid(i) && (c.Present == nil || c.Present.Get(i)) {
			v := texts.Value(i)
			cells[i] = &v
		}
	}
	return cells, nil
}

// arrayOf reads cells of the types that a sample can have.
func arrayOf(t arrow.DataType, cells []*string) (arrow.Array, error) {
	b := array.NewBuilder(memory.DefaultAllocator, t)
	defer b.Release()
	for _, cell := range cells {
		if cell == nil {
			b.AppendNull()
			continue
		}
		var err error
		switch b := b.(type) {
		case *array.StringBuilder:
			b.Append(*cell)
		case *array.BooleanBuilder:
			b.Append(*cell == "t")
		case *array.Int32Builder:
			var v int64
			v, err = strconv.ParseInt(*cell, 10, 32)
			b.Append(int32(v))
		case *array.Int64Builder:
			var v int64
			v, err = strconv.ParseInt(*cell, 10, 64)
			b.Append(v)
		case *array.Float64Builder:
			var v float64
			v, err = strconv.ParseFloat(*cell, 64)
			b.Append(v)
		default:
			err = fmt.Errorf("a sample has no column of type %s", t)
		}
		if err != nil {
			return nil, err
		}
	}
	return b.NewArray(), nil
}
