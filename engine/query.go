package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/spec"
	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/capability"
)

// Rows is a part of a result: text cells, nil for NULL.
type Rows struct {
	Columns []string    `json:"columns"`
	Rows    [][]*string `json:"rows"`
}

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
	return db.Ask(ctx, sql, func(r arrow.RecordBatch) error {
		part := Rows{Rows: make([][]*string, r.NumRows())}
		for _, f := range r.Schema().Fields() {
			part.Columns = append(part.Columns, f.Name)
		}
		for row := range part.Rows {
			cells := make([]*string, len(part.Columns))
			for col := range cells {
				if arr := r.Column(col); arr.IsValid(row) {
					text := cellText(arr, row)
					cells[col] = &text
				}
			}
			part.Rows[row] = cells
		}
		return yield(part)
	})
}

// cellText prints a cell. A decimal keeps all the digits of its scale.
func cellText(arr arrow.Array, row int) string {
	if text, ok := decimalText(arr, row); ok {
		return strings.Clone(text)
	}
	return arr.ValueStr(row)
}
