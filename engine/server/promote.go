package server

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/leat-etl/leat/engine"
)

// place is a transform by its place in the chain, from 0.
type place struct {
	Transform int `json:"transform"`
}

func (c *control) promote(w http.ResponseWriter, r *http.Request) {
	var at place
	if err := json.NewDecoder(r.Body).Decode(&at); err != nil {
		answer(w, nil, err)
		return
	}
	promoted, err := c.p.Promote(context.WithoutCancel(r.Context()), at.Transform)
	answer(w, promoted, err)
}

// Promote puts a candidate into the place of its transform, see
// engine.Pipeline.Promote.
func (c *Client) Promote(ctx context.Context, transform int) (p engine.ShadowPlugin, err error) {
	return p, c.call(ctx, http.MethodPost, "/plugins/promote", place{transform}, &p)
}
