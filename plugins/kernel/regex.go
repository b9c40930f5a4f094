package kernel

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// maxPattern bounds a regular expression. RE2 takes time linear in the text,
// times the size of the pattern.
const maxPattern = 1000

// maxSteps bounds what a pattern compiles to: a repetition such as x{1000} takes
// seven bytes of a pattern and a thousand steps.
const maxSteps = 10_000

// stepsOf is the size of what a pattern compiles to.
func stepsOf(pattern string) (int, error) {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, fmt.Errorf("pattern: %w", err)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return 0, fmt.Errorf("pattern: %w", err)
	}
	if n := len(program.Inst); n > maxSteps {
		return 0, fmt.Errorf("pattern: its repetitions compile to %d steps, the most are %d", n, maxSteps)
	}
	return len(program.Inst), nil
}

// bindRegex replaces, extracts or looks for a regular expression.
func bindRegex(b *binding) (*Kernel, error) {
	p := struct {
		Pattern string `json:"pattern"`
		Action  string `json:"action"`
		With    string `json:"with"`
		Group   int    `json:"group"`
	}{Action: "match"}
	if err := b.text(); err != nil {
		return nil, err
	}
	if err := b.decode(&p); err != nil {
		return nil, err
	}
	if len(p.Pattern) == 0 || len(p.Pattern) > maxPattern {
		return nil, fmt.Errorf("pattern: it has %d bytes, expected 1 to %d", len(p.Pattern), maxPattern)
	}
	steps, err := stepsOf(p.Pattern)
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile(p.Pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	k, err := pattern{re, steps}.kernel(p.Action, p.With, p.Group)
	if err == nil {
		k.Steps = steps
	}
	return k, err
}

// pattern is a regular expression and what it compiles to.
type pattern struct {
	*regexp.Regexp
	steps int
}

// kernel is that of an action.
func (re pattern) kernel(action, with string, group int) (*Kernel, error) {
	switch action {
	case "match":
		return re.matches(), nil
	case "replace":
		most := strings.Count(with, "$") // times the match
		return mapsTextWithin(func(out *result) mapper {
			return func(dst, value []byte) ([]byte, error) {
				if err := re.inTime(value, out); err != nil {
					return dst, err
				}
				limit := out.Bytes
				last, places := 0, limit/(16*(re.NumSubexp()+1)+24)
				all := re.FindAllSubmatchIndex(value, places+1)
				if len(all) > places {
					return dst, ErrTooLarge
				}
				for _, at := range all {
					if len(dst)+at[0]-last+len(with)+most*(at[1]-at[0]) > limit {
						return dst, ErrTooLarge
					}
					dst = re.Expand(append(dst, value[last:at[0]]...), []byte(with), value, at)
					last = at[1]
				}
				return append(dst, value[last:]...), nil
			}
		}), nil
	case "extract":
		if group < 0 || group > re.NumSubexp() {
			return nil, fmt.Errorf("group: the pattern has %d groups, not %d", re.NumSubexp(), group)
		}
		return mapsTextWithin(func(out *result) mapper {
			return func(dst, value []byte) ([]byte, error) {
				if err := out.inTime(len(value), re.steps); err != nil {
					return dst, err
				}
				at := re.FindSubmatchIndex(value)
				if at == nil || at[2*group] < 0 {
					return dst, errNull
				}
				return append(dst, value[at[2*group]:at[2*group+1]]...), nil
			}
		}), nil
	}
	return nil, fmt.Errorf("action: %q is not match, replace or extract", action)
}

// inTime says that all matches of a value can be looked for. Each may look at
// all that is left of the text, as x(.*y)? does: where that could take longer
// than there is, they are counted first, which ends in time, for half of what is
// left.
func (re pattern) inTime(value []byte, out *result) (err error) {
	if err := out.inTime(len(value), re.steps); err != nil || out.Until.IsZero() {
		return err
	}
	left := time.Until(out.Until)
	if len(value)*len(value) < int(left/stepTime)/re.steps {
		return nil
	}
	half := time.Now().Add(left / 2)
	defer func() {
		if e := recover(); e != nil {
			if err, _ = e.(error); err != ErrTooLong {
				panic(e)
			}
		}
	}()
	re.ReplaceAllFunc(value, func([]byte) []byte {
		if time.Now().After(half) {
			panic(ErrTooLong)
		}
		return nil
	})
	return nil
}

func (re pattern) matches() *Kernel {
	return &Kernel{Output: arrow.FixedWidthTypes.Boolean, run: func(in []Column, rows int, out *result) error {
		value, _, err := values(in[0].Array)
		if err != nil {
			return err
		}
		return fill(arrow.FixedWidthTypes.Boolean, in, rows, out, func(c *batch.ColumnBuilder, row int) error {
			cell := value(row)
			if err := out.inTime(len(cell), re.steps); err != nil {
				return err
			}
			c.AppendBool(re.Match(cell))
			return nil
		})
	}}
}

// errNull makes the result of a row null.
var errNull = errors.New("null")

// fill builds a column of any type cell by cell: a cell that any input lacks is
// absent, one that any has null is null. appendCell appends one cell or fails.
func fill(t arrow.DataType, in []Column, rows int, out *result, appendCell func(c *batch.ColumnBuilder, row int) error) error {
	b := batch.NewBuilder(&batch.Schema{Columns: []batch.Column{{Name: "result", Type: t}}})
	c := b.Column(0)
	for row := range rows {
		if err := out.inTime(0, 0); err != nil {
			return err
		}
		switch stateOf(in, row) {
		case cellAbsent:
			c.AppendAbsent()
		case cellNull:
			c.AppendNull()
		default:
			switch err := appendCell(c, row); err {
			case nil:
			case errNull:
				c.AppendNull()
			case ErrTooLong:
				return err
			default:
				out.fail(row, err)
				c.AppendAbsent()
			}
		}
		b.EndRow(batch.Read, 0, 0, 0)
		if b.Bytes() > int64(out.Bytes)/2 {
			return ErrTooLarge
		}
	}
	done := b.Finish(batch.Position{})
	defer done.Release()
	out.column = Column{done.Rows.Column(0), done.Present[0]}
	out.column.Array.Retain()
	return nil
}

// state is what the inputs make of a cell of the result.
type state byte

const (
	cellValue state = iota
	cellNull
	cellAbsent
)

func stateOf(in []Column, row int) state {
	s := cellValue
	for _, c := range in {
		if c.Present != nil && !c.Present.Get(row) {
			return cellAbsent
		}
		if c.Array.IsNull(row) {
			s = cellNull
		}
	}
	return s
}
