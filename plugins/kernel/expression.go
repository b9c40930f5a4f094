package kernel

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"github.com/leat-etl/leat/engine/batch"
)

// maxExpression bounds the text of an expression, maxNodes its size.
const (
	maxExpression = 8 << 10
	maxNodes      = 1000
)

// functions are the built-ins that an expression may call: those whose work is
// bounded by the values they are given and that give the same result always.
var functions = []string{
	"len", "abs", "ceil", "floor", "round", "int", "float", "trim", "trimPrefix", "trimSuffix", "upper", "lower",
	"indexOf", "lastIndexOf", "hasPrefix", "hasSuffix", "max", "min", "date", "duration",
}

// bindExpression computes an expression of the expr language from the columns
// that it names, which is all that it can reach.
//
// Where a column that it names is null, the result is null. An expression that
// says nil or ?? is computed with nil for null instead; an operation that nil
// does not have then makes the whole result null.
func bindExpression(b *binding) (*Kernel, error) {
	var p struct {
		Source string `json:"source"`
		As     string `json:"as"`
	}
	if err := b.decode(&p); err != nil {
		return nil, err
	}
	if len(p.Source) == 0 || len(p.Source) > maxExpression {
		return nil, fmt.Errorf("source: it has %d bytes, expected 1 to %d", len(p.Source), maxExpression)
	}
	to, err := batch.ParseFormat(p.As)
	if err != nil {
		return nil, fmt.Errorf("as: %w", err)
	}
	put := putters[to.ID()]
	if put == nil {
		return nil, fmt.Errorf("as: an expression does not give %s", to)
	}
	named, found, err := b.names(p.Source)
	if err != nil {
		return nil, err
	}
	environment := map[string]any{}
	for _, i := range named {
		sample, err := sampleOf(b.inputs[i])
		if err != nil {
			return nil, err
		}
		environment[b.inputs[i].Name] = sample
	}
	program, err := compile(p.Source, environment, to)
	if err != nil {
		return nil, err
	}
	k := &Kernel{Output: to, Uses: named, Steps: found.nodes + found.steps}
	k.run = func(in []Column, rows int, out *result) error {
		e := evaluation{program: program, found: found, out: out, row: make(map[string]any, len(named))}
		for _, i := range named {
			e.cells = append(e.cells, cell{b.inputs[i].Name, in[i], readerOf(in[i].Array)})
		}
		return fill(to, nil, rows, out, func(c *batch.ColumnBuilder, row int) error { return e.evaluate(c, row, put) })
	}
	return k, nil
}

// names finds the inputs that an expression names, in their order, and what else
// there is to know of it.
func (b *binding) names(source string) (used []int, found *identifiers, err error) {
	tree, err := parser.Parse(source)
	if err != nil {
		return nil, nil, expressionError(err)
	}
	found = &identifiers{}
	ast.Walk(&tree.Node, found)
	if found.why != "" {
		return nil, nil, errors.New(found.why)
	}
	used = []int{}
	for _, name := range found.names {
		i := slices.IndexFunc(b.inputs, func(in Input) bool { return in.Name == name })
		if i < 0 {
			return nil, nil, fmt.Errorf("there is no column %q", name)
		}
		if !slices.Contains(used, i) {
			used = append(used, i)
		}
	}
	slices.Sort(used)
	return used, found, nil
}

// identifiers collects the names of an expression and refuses what could take
// more than a bounded time.
type identifiers struct {
	names []string
	nodes int
	nils  bool // it names nil or uses ??
	joins bool // it may put texts together
	steps int  // of its patterns
	why   string
}

// Visit implements ast.Visitor.
func (f *identifiers) Visit(node *ast.Node) {
	if f.nodes++; f.nodes > maxNodes {
		f.why = fmt.Sprintf("the expression has more than %d parts", maxNodes)
	}
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if !slices.Contains(f.names, n.Value) {
			f.names = append(f.names, n.Value)
		}
	case *ast.BinaryNode:
		pattern, constant := n.Right.(*ast.StringNode)
		switch {
		case n.Operator == "+":
			f.joins = true
		case n.Operator == "..":
			f.why = "an expression has no ranges"
		case n.Operator == "??":
			f.nils = true
		case n.Operator == "matches" && (!constant || len(pattern.Value) > maxPattern):
			f.why = fmt.Sprintf("behind matches stands a text in quotes of at most %d bytes", maxPattern)
		case n.Operator == "matches":
			f.pattern(pattern.Value)
		}
	case *ast.NilNode:
		f.nils = true
	case *ast.PredicateNode, *ast.PointerNode, *ast.VariableDeclaratorNode, *ast.SequenceNode:
		f.why = "an expression has no loops, declarations and sequences"
	case *ast.MemberNode, *ast.SliceNode, *ast.MapNode:
		f.why = "an expression works on single values: no members, slices and maps"
	}
}

// pattern counts the steps of a pattern. One that does not compile is found by
// the library, which says where.
func (f *identifiers) pattern(text string) {
	n, err := stepsOf(text)
	var broken *syntax.Error
	if err != nil && !errors.As(err, &broken) {
		f.why = err.Error()
	}
	if f.steps += n; f.steps > maxSteps {
		f.why = fmt.Sprintf("its patterns compile to more than %d steps", maxSteps)
	}
}

func compile(source string, environment map[string]any, to arrow.DataType) (*vm.Program, error) {
	options := []expr.Option{expr.Env(environment), expr.DisableAllBuiltins(), expr.MaxNodes(maxNodes)}
	for _, name := range functions {
		options = append(options, expr.EnableBuiltin(name))
	}
	for name, f := range map[string]func(a, b int) (int, error){"_add": add, "_subtract": subtract, "_multiply": multiply, "_rest": rest} {
		options = append(options, expr.Function(name, func(args ...any) (any, error) { return f(args[0].(int), args[1].(int)) }, new(func(int, int) int)))
	}
	options = append(options, expr.Function("_join", join, new(func(string, string) string)), expr.Function("string", text, new(func(any) string)),
		expr.Operator("+", "_add", "_join"), expr.Operator("-", "_subtract"), expr.Operator("*", "_multiply"), expr.Operator("%", "_rest"))
	if to.ID() == arrow.BOOL {
		options = append(options, expr.AsBool())
	}
	program, err := expr.Compile(source, options...)
	if err != nil {
		return nil, expressionError(err)
	}
	return program, nil
}

// expressionError is an error of the library in one line. It quotes the
// expression, which is a setting, never a value.
func expressionError(err error) error {
	return errors.New("source: " + strings.Join(strings.Fields(err.Error()), " "))
}

var errOverflow = errors.New("a number is larger than 64 bits, or a text than 64 MiB")

func add(a, b int) (int, error) {
	if s := a + b; (s > a) == (b > 0) {
		return s, nil
	}
	return 0, errOverflow
}

func subtract(a, b int) (int, error) {
	if d := a - b; (d < a) == (b > 0) {
		return d, nil
	}
	return 0, errOverflow
}

func multiply(a, b int) (int, error) {
	magnitude := func(v int) uint64 {
		if v < 0 {
			return -uint64(v)
		}
		return uint64(v)
	}
	high, low := bits.Mul64(magnitude(a), magnitude(b))
	if high != 0 || low > math.MaxInt64 {
		return 0, errOverflow
	}
	return a * b, nil
}

func rest(a, b int) (int, error) {
	if b == 0 {
		return 0, errors.New("division by zero")
	}
	return a % b, nil
}

// maxJoined bounds a text that an expression puts together.
const maxJoined = 64 << 20

// join puts texts together.
func join(args ...any) (any, error) {
	a, b := args[0].(string), args[1].(string)
	if len(a)+len(b) > maxJoined {
		return nil, errOverflow
	}
	return a + b, nil
}

// text prints a single value; nil has no text.
func text(args ...any) (any, error) {
	switch v := args[0].(type) {
	case string:
		return v, nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return nil, errResult
}

// sampleOf is a value of the type that a column has in an expression.
func sampleOf(in Input) (any, error) {
	switch in.Type.ID() {
	case arrow.BOOL:
		return false, nil
	case arrow.INT16, arrow.INT32, arrow.UINT32, arrow.INT64:
		return 0, nil
	case arrow.FLOAT32, arrow.FLOAT64:
		return 0.0, nil
	case arrow.STRING, arrow.FIXED_SIZE_BINARY, arrow.TIME64:
		return "", nil
	case arrow.DATE32, arrow.TIMESTAMP:
		return time.Time{}, nil
	case arrow.DECIMAL128, arrow.DECIMAL256:
		if p := in.Type.(arrow.DecimalType).GetPrecision(); p > 15 {
			return nil, fmt.Errorf("%s has %d digits, expressions compute with 15: round it or make it text before", in, p)
		}
		return 0.0, nil
	}
	return nil, fmt.Errorf("%s is %s, which expressions do not know", in, in.Type)
}

// readerOf reads the cells of a column as an expression sees them.
func readerOf(a arrow.Array) func(row int) (any, error) {
	switch a := a.(type) {
	case *array.Boolean:
		return func(row int) (any, error) { return a.Value(row), nil }
	case *array.Int16:
		return func(row int) (any, error) { return int(a.Value(row)), nil }
	case *array.Int32:
		return func(row int) (any, error) { return int(a.Value(row)), nil }
	case *array.Uint32:
		return func(row int) (any, error) { return int(a.Value(row)), nil }
	case *array.Int64:
		return func(row int) (any, error) { return int(a.Value(row)), nil }
	case *array.Float32:
		return func(row int) (any, error) { return float64(a.Value(row)), nil }
	case *array.Float64:
		return func(row int) (any, error) { return a.Value(row), nil }
	case *array.String:
		return func(row int) (any, error) { return a.Value(row), nil }
	case *array.Date32, *array.Timestamp:
		micros := microsOf(a)
		return func(row int) (any, error) {
			v, err := micros(row)
			return time.UnixMicro(v).UTC(), err
		}
	}
	text, err := batch.TextOf(a)
	if err != nil {
		return func(int) (any, error) { return nil, err }
	}
	_, decimal := a.DataType().(arrow.DecimalType)
	var buffer []byte
	return func(row int) (any, error) {
		buffer = text(buffer[:0], row)
		if decimal {
			return strconv.ParseFloat(string(buffer), 64)
		}
		return string(buffer), nil
	}
}

// cell reads one column of a row.
type cell struct {
	name   string
	column Column
	read   func(row int) (any, error)
}

// evaluation runs a program over the rows of a batch.
type evaluation struct {
	program *vm.Program
	found   *identifiers
	out     *result
	machine vm.VM
	cells   []cell
	row     map[string]any
}

func (e *evaluation) evaluate(c *batch.ColumnBuilder, row int, put putter) error {
	nulls, size := false, 0
	for i := range e.cells {
		cell := &e.cells[i]
		if m := cell.column.Present; m != nil && !m.Get(row) {
			c.AppendAbsent()
			return nil
		}
		if cell.column.Array.IsNull(row) {
			e.row[cell.name], nulls = nil, true
			continue
		}
		v, err := cell.read(row)
		if err != nil {
			return err
		}
		e.row[cell.name] = v
		if text, ok := v.(string); ok {
			size += len(text)
		}
	}
	if nulls && !e.found.nils {
		return errNull
	}
	if e.found.joins {
		size = max(size, min(size*e.found.nodes, maxJoined))
	}
	if err := e.out.inTime(size, e.found.nodes+e.found.steps); err != nil {
		return err
	}
	v, err := e.machine.Run(e.program, e.row)
	switch {
	case err != nil && nulls, err == nil && v == nil:
		return errNull
	case errors.Is(err, errOverflow):
		return errOverflow
	case err != nil:
		return errors.New("the expression cannot be computed for this row") // the library's text may hold a value
	}
	return put(c, v)
}

// putter appends the result of an expression.
type putter func(c *batch.ColumnBuilder, v any) error

var errResult = errors.New("the result of the expression does not fit the column")

var putters = map[arrow.Type]putter{
	arrow.BOOL: func(c *batch.ColumnBuilder, v any) error {
		b, ok := v.(bool)
		if !ok {
			return errors.New("the result of the expression is neither true nor false")
		}
		c.AppendBool(b)
		return nil
	},
	arrow.INT64: func(c *batch.ColumnBuilder, v any) error {
		n, ok := v.(int)
		if f, isFloat := v.(float64); isFloat && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			n, ok = int(f), true
		}
		if !ok {
			return errResult
		}
		c.AppendUint64(uint64(n))
		return nil
	},
	arrow.FLOAT64: func(c *batch.ColumnBuilder, v any) error {
		switch v := v.(type) {
		case int:
			if v > 1<<53 || v < -1<<53 {
				return errResult
			}
			c.AppendUint64(math.Float64bits(float64(v)))
		case float64:
			c.AppendUint64(math.Float64bits(v))
		default:
			return errResult
		}
		return nil
	},
	arrow.STRING: func(c *batch.ColumnBuilder, v any) error {
		switch v := v.(type) {
		case string:
			c.AppendBytes([]byte(v))
		case int:
			c.AppendText(func(dst []byte) []byte { return strconv.AppendInt(dst, int64(v), 10) })
		case float64:
			c.AppendText(func(dst []byte) []byte { return strconv.AppendFloat(dst, v, 'f', -1, 64) })
		case bool:
			c.AppendBytes([]byte(strconv.FormatBool(v)))
		default:
			return errResult
		}
		return nil
	},
	arrow.TIMESTAMP: func(c *batch.ColumnBuilder, v any) error {
		t, ok := v.(time.Time)
		if !ok {
			return errResult
		}
		c.AppendUint64(uint64(t.UnixMicro()))
		return nil
	},
}
