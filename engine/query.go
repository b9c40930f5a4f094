package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/capability"
)

// Rows is a part of a result: text cells, nil for NULL.
type Rows struct {
	Columns []string    `json:"columns"`
	Kinds   []CellKind  `json:"kinds"` // of the columns
	Rows    [][]*string `json:"rows"`
}

// CellKind says what the texts of a column are.
type CellKind string

// The kinds. A number is one that every reader of JSON takes without loss: a
// float, or a decimal of 15 digits at most.
const (
	KindText    CellKind = "text"
	KindBoolean CellKind = "boolean"
	KindInteger CellKind = "integer"
	KindNumber  CellKind = "number"
)

// Query asks the destination of a running pipeline one question in SQL, over a
// connection of its own, and hands the result on in parts. A statement that
// would change something is refused.
func (p *Pipeline) Query(ctx context.Context, sql string, yield func(Rows) error) error {
	db, err := capability.OpenSQL(ctx, p.plugins.target.Manifest.Driver, p.plugins.private)
	return query(ctx, db, err, sql, yield)
}

// Query asks the destination of a pipeline that does not run one question in
// SQL, and touches nothing else of it.
func Query(ctx context.Context, s *spec.Spec, sql string, yield func(Rows) error) error {
	config, err := s.Destination.ConfigJSON(true)
	if err != nil {
		return fmt.Errorf("settings of plugin %s: %w", s.Destination.Plugin, err)
	}
	target, err := resolve(s, s.Destination.Plugin, bundle.Destination, config, s.Destination.Limits)
	if err != nil {
		return err
	}
	_, private, err := bundle.SplitConfig(target.Manifest, config, s.Dir)
	if err != nil {
		return err
	}
	db, err := capability.OpenReader(ctx, target.Manifest.Driver, private)
	return query(ctx, db, err, sql, yield)
}

// query asks db, which was opened with err.
func query(ctx context.Context, db capability.SQL, err error, sql string, yield func(Rows) error) error {
	if err != nil {
		return fmt.Errorf("open destination: %w", err)
	}
	defer db.Close()
	err = db.Ask(ctx, sql, func(r arrow.RecordBatch) error {
		part := Rows{Rows: make([][]*string, r.NumRows())}
		texts := make([]func(int) string, r.NumCols())
		for i, f := range r.Schema().Fields() {
			part.Columns, part.Kinds = append(part.Columns, f.Name), append(part.Kinds, kindOf(f.Type))
			texts[i] = cellTexts(r.Column(i))
		}
		for row := range part.Rows {
			cells := make([]*string, len(part.Columns))
			for col := range cells {
				if r.Column(col).IsValid(row) {
					text := texts[col](row)
					cells[col] = &text
				}
			}
			part.Rows[row] = cells
		}
		return yield(part)
	})
	var refused *capability.Error
	if errors.As(err, &refused) && slices.Contains([]capability.Class{capability.Question, capability.Schema, capability.Data}, refused.Class) {
		return &RequestError{refused.Error(), refused.Hint} // the statement is wrong, not the destination
	}
	return err
}

func kindOf(t arrow.DataType) CellKind {
	switch t := t.(type) {
	case *arrow.BooleanType:
		return KindBoolean
	case arrow.DecimalType:
		if t.GetScale() == 0 {
			return KindInteger
		}
		if t.GetPrecision() <= 15 {
			return KindNumber
		}
		return KindText
	}
	switch {
	case arrow.IsInteger(t.ID()):
		return KindInteger
	case arrow.IsFloating(t.ID()):
		return KindNumber
	}
	return KindText
}

// cellTexts prints the cells of a column as PostgreSQL prints them, in UTC, but
// for booleans, lists (JSON) and times on a day (RFC 3339).
func cellTexts(arr arrow.Array) func(row int) string {
	switch a := arr.(type) {
	case *array.Boolean:
		return a.ValueStr
	case *array.Timestamp:
		return timestampTexts(a)
	case *array.Time64:
		if a.DataType().(*arrow.Time64Type).Unit != arrow.Microsecond {
			return a.ValueStr
		}
	case *array.FixedSizeBinary:
		if a.DataType().(*arrow.FixedSizeBinaryType).ByteWidth != len(uuid{}) {
			return a.ValueStr
		}
	case *array.List:
		return listTexts(a)
	}
	text, err := batch.TextOf(arr)
	if err != nil { // a type that no batch has
		return arr.ValueStr
	}
	return func(row int) string { return string(text(nil, row)) }
}

// uuid is the only binary value of a fixed size that a batch has.
type uuid [16]byte

func timestampTexts(a *array.Timestamp) func(row int) string {
	t := a.DataType().(*arrow.TimestampType)
	if t.Unit != arrow.Microsecond {
		return a.ValueStr
	}
	return func(row int) string {
		text := string(batch.AppendTimestamp(nil, int64(a.Value(row)), t.TimeZone != ""))
		day, time, finite := strings.Cut(text, " ")
		if !finite || strings.HasSuffix(text, "BC") {
			return text
		}
		if time, utc := strings.CutSuffix(time, "+00"); utc {
			return day + "T" + time + "Z"
		}
		return day + "T" + time
	}
}

// listTexts prints lists as JSON.
func listTexts(a *array.List) func(row int) string {
	values := a.ListValues()
	text, kind := cellTexts(values), kindOf(values.DataType())
	if values.DataType().ID() == arrow.LIST {
		kind = KindInteger // JSON already
	}
	return func(row int) string {
		from, to := a.ValueOffsets(row)
		cells := make([]string, 0, to-from)
		for i := from; i < to; i++ {
			switch cell := "null"; {
			case values.IsNull(int(i)):
				cells = append(cells, cell)
			case kind == KindText:
				quoted, _ := json.Marshal(text(int(i))) // a string always can be
				cells = append(cells, string(quoted))
			default:
				cells = append(cells, text(int(i)))
			}
		}
		return "[" + strings.Join(cells, ",") + "]"
	}
}

// cellText prints a cell as cellTexts does.
func cellText(arr arrow.Array, row int) string { return cellTexts(arr)(row) }
