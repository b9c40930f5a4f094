// Package kernel holds functions over whole columns that the host runs on
// behalf of plugins: pure, without authority, at native speed. A plan names
// one, its inputs and its parameters; no cell enters the guest. pdk/README.md
// lists what each does.
//
// Everything that names a kernel comes from a guest and is not trusted: Bind
// checks it once, Run only computes.
package kernel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
)

// Input is a column that a kernel works on.
type Input struct {
	Name string
	Type arrow.DataType
	PG   batch.PGType
}

// Column is the cells of an input or of a result. A nil Present is presence
// everywhere.
type Column struct {
	Array   arrow.Array
	Present batch.Bitmap
}

// Settings are a plugin's settings that only the host may see, by name.
type Settings map[string]json.RawMessage

// Kernel is a function with checked parameters. It is safe for concurrent use.
type Kernel struct {
	Name string
	// Output is the type of the result.
	Output arrow.DataType
	// Uses are the indexes of the inputs that the result depends on.
	Uses []int
	// Reveals says that the result is what a setting of the host hides: it is for
	// the destination, not for the plugin.
	Reveals bool
	// Steps is the size of what a pattern or an expression compiles to, which
	// takes about 50 bytes a step for as long as the kernel is kept.
	Steps int
	run   func(in []Column, rows int, out *result) error
}

// Failures are the rows that could not be computed, with the reason. A reason
// never holds a value.
type Failures map[int]string

// Bounds are what a run may take.
type Bounds struct {
	// Bytes is about the most that the result may have.
	Bytes int
	// Until is when the run has to have ended; zero is never. It is looked at
	// between two rows, and one that may take longer than is left is not begun.
	Until time.Time
}

// ErrTooLarge says that a result would be larger than it may be, ErrTooLong that
// it was not there in time.
var (
	ErrTooLarge = errors.New("the result of a kernel is larger than it may be")
	ErrTooLong  = errors.New("a kernel takes longer than it may")
)

// Run computes the result of a batch. The result's array belongs to the
// caller. A row that failed is absent in it. Beyond its bounds it is ErrTooLarge
// or ErrTooLong.
//
// A cell is absent where an input that the kernel uses is absent, and null
// where one is null, unless pdk/README.md says otherwise of the kernel.
func (k *Kernel) Run(in []Column, rows int, bounds Bounds) (Column, Failures, error) {
	out := result{Bounds: bounds, work: workBetweenLooks}
	if err := k.run(in, rows, &out); err != nil {
		return Column{}, nil, err
	}
	return out.column, out.failed, nil
}

// Size is how many bytes the column takes.
func (c Column) Size() int {
	n := len(c.Present)
	for _, b := range c.Array.Data().Buffers() {
		if b != nil {
			n += b.Len()
		}
	}
	return n
}

// result is what a run makes.
type result struct {
	Bounds
	column Column
	failed Failures
	work   int // since the last look at the clock, in bytes
}

// workBetweenLooks is how often a run looks at the clock, workOfRow what a row
// counts for beside its bytes: the slowest kernels take microseconds for one of
// usual size.
const (
	workBetweenLooks = 1 << 20
	workOfRow        = workBetweenLooks / 64
)

// stepTime is about the longest that a step of a pattern takes for a byte.
const stepTime = 10 * time.Nanosecond

// inTime says that a run may go on with so many bytes of a row, which pass
// through so many steps.
func (r *result) inTime(bytes, steps int) error {
	work := bytes * steps
	if r.work += workOfRow + work; r.Until.IsZero() || r.work < workBetweenLooks {
		return nil
	}
	r.work = 0
	if left := time.Until(r.Until); left <= 0 || work > int(left/stepTime) {
		return ErrTooLong
	}
	return nil
}

func (r *result) fail(row int, err error) {
	if r.failed == nil {
		r.failed = Failures{}
	}
	r.failed[row] = err.Error()
}

// binding is a kernel that is being checked.
type binding struct {
	inputs     []Input
	parameters json.RawMessage
	settings   Settings
}

// kernels are all there are.
var kernels = map[string]func(b *binding) (*Kernel, error){
	"aes-siv":      bindSIV,
	"any":          bindAny,
	"array-json":   bindArrayJSON,
	"case":         bindCase,
	"cast":         bindCast,
	"expression":   bindExpression,
	"geojson":      bindGeoJSON,
	"hash":         bindHash,
	"hmac":         bindHMAC,
	"interval-iso": bindIntervalISO,
	"json-path":    bindJSONPath,
	"mask":         bindMask,
	"range-json":   bindRangeJSON,
	"regex":        bindRegex,
	"replace":      bindReplace,
	"round":        bindRound,
	"split":        bindSplit,
	"substring":    bindSubstring,
	"time":         bindTime,
	"trim":         bindTrim,
}

// Names lists the kernels.
func Names() []string { return slices.Sorted(maps.Keys(kernels)) }

// maxParameters bounds the JSON of a kernel's parameters.
const maxParameters = 64 << 10

// Bind checks what a plan says of a kernel. settings are those that a
// parameter may refer to by name.
func Bind(name string, inputs []Input, parameters json.RawMessage, settings Settings) (*Kernel, error) {
	bind := kernels[name]
	if bind == nil {
		return nil, fmt.Errorf("there is no kernel %q: this host has %s", name, strings.Join(Names(), ", "))
	}
	if len(parameters) > maxParameters {
		return nil, fmt.Errorf("kernel %s: its parameters take %d bytes, the most are %d", name, len(parameters), maxParameters)
	}
	k, err := bind(&binding{inputs, parameters, settings})
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", name, err)
	}
	k.Name = name
	if k.Uses == nil {
		for i := range inputs {
			k.Uses = append(k.Uses, i)
		}
	}
	return k, nil
}

// decode reads the parameters strictly.
func (b *binding) decode(into any) error {
	if len(b.parameters) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b.parameters))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return errors.New("its parameters: " + strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("its parameters: more than one value")
	}
	return nil
}

// takes makes sure that there are n inputs.
func (b *binding) takes(n int) error {
	if len(b.inputs) != n {
		return fmt.Errorf("it takes %d inputs, the plan gives it %d", n, len(b.inputs))
	}
	return nil
}

// text makes sure that there is one input and that it is text.
func (b *binding) text() error {
	if err := b.takes(1); err != nil {
		return err
	}
	if b.inputs[0].Type.ID() != arrow.STRING {
		return fmt.Errorf("it works on text, %s is %s", b.inputs[0], b.inputs[0].Type)
	}
	return nil
}

// String names the input for errors.
func (i Input) String() string {
	if i.Name == "" {
		return "the result of another kernel"
	}
	return fmt.Sprintf("column %q", i.Name)
}

// secret is a parameter that a plan gives as text or, so that the guest never
// holds it, as the name of a setting: {"setting": "key"}.
type secret struct {
	text    string
	setting string
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *secret) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &s.text)
	}
	var ref struct {
		Setting string `json:"setting"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&ref); err != nil || ref.Setting == "" {
		return errors.New(`a secret is a text or {"setting": "name of a setting"}`)
	}
	s.setting = ref.Setting
	return nil
}

// reveal is the text behind a secret. A setting that the pipeline file does
// not give is empty.
func (s *secret) reveal(settings Settings) (string, error) {
	if s.setting == "" {
		return s.text, nil
	}
	raw := settings[s.setting]
	if raw == nil {
		return "", nil
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return "", fmt.Errorf("the setting %q is not a text", s.setting)
	}
	return text, nil
}
