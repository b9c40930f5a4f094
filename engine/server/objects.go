package server

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/state"
)

func (c *control) changeObjects(w http.ResponseWriter, r *http.Request) {
	var request engine.ObjectRequest
	var changed []state.Object
	err := json.NewDecoder(r.Body).Decode(&request)
	if err == nil {
		changed, err = c.p.ChangeObjects(r.Context(), request)
	}
	answer(w, changed, err)
}

// ChangeObjects asks something of objects, see engine.Pipeline.ChangeObjects.
func (c *Client) ChangeObjects(ctx context.Context, r engine.ObjectRequest) (changed []state.Object, err error) {
	return changed, c.call(ctx, http.MethodPost, "/objects", r, &changed)
}

// chosenTables is the body of a request about some tables, all if none are
// named.
type chosenTables struct {
	Tables []string `json:"tables"`
}

func (c *control) runNow(w http.ResponseWriter, r *http.Request) {
	var chosen chosenTables
	err := json.NewDecoder(r.Body).Decode(&chosen)
	if err == nil {
		err = c.p.RunNow(r.Context(), chosen.Tables)
	}
	answer(w, struct{}{}, err)
}

// RunNow starts a run of the schedule now, see engine.Pipeline.RunNow.
func (c *Client) RunNow(ctx context.Context, tables []string) error {
	return c.call(ctx, http.MethodPost, "/objects/run-now", chosenTables{tables}, &struct{}{})
}
