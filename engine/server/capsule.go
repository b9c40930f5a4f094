package server

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/leat-etl/leat/plugins/capsule"
)

// capsuleOf names the failed event that a capsule is asked of.
type capsuleOf struct {
	ID   string `json:"id"`
	Mask bool   `json:"mask"`
}

func (c *control) capsule(w http.ResponseWriter, r *http.Request) {
	var of capsuleOf
	if err := json.NewDecoder(r.Body).Decode(&of); err != nil {
		answer(w, nil, err)
		return
	}
	made, err := c.p.Capsule(r.Context(), of.ID, of.Mask)
	answer(w, made, err)
}

// Capsule makes the capsule of a failed event, see engine.Pipeline.Capsule.
func (c *Client) Capsule(ctx context.Context, id string, mask bool) (*capsule.Capsule, error) {
	made := &capsule.Capsule{}
	return made, c.call(ctx, http.MethodPost, "/failed/capsule", capsuleOf{id, mask}, made)
}
