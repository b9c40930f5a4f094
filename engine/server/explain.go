package server

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/leat-etl/leat/engine"
)

// rowName names a row of a source table.
type rowName struct {
	Table string `json:"table"`
	Key   string `json:"key"`
}

func (c *control) explainRow(w http.ResponseWriter, r *http.Request) {
	var row rowName
	var out *engine.RowExplanation
	err := json.NewDecoder(r.Body).Decode(&row)
	if err == nil {
		out, err = c.p.ExplainRow(r.Context(), row.Table, row.Key)
	}
	answer(w, out, err)
}

// ExplainRow says what made a row, see engine.Pipeline.ExplainRow.
func (c *Client) ExplainRow(ctx context.Context, table, key string) (*engine.RowExplanation, error) {
	var out engine.RowExplanation
	return &out, c.call(ctx, http.MethodPost, "/explain/row", rowName{table, key}, &out)
}
