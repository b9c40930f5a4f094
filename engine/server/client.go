package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/state"
)

// Client talks to the control socket of a running pipeline.
type Client struct{ http *http.Client }

// Dial returns a client for the socket at path.
func Dial(path string) *Client {
	return &Client{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}}
}

// Status returns the counters of the running pipeline.
func (c *Client) Status(ctx context.Context) (s engine.Status, err error) {
	return s, c.call(ctx, http.MethodGet, "/status", nil, &s)
}

// Objects returns the objects of the running pipeline.
func (c *Client) Objects(ctx context.Context) (o []state.Object, err error) {
	return o, c.call(ctx, http.MethodGet, "/objects", nil, &o)
}

// Failed returns all failed events with their payloads.
func (c *Client) Failed(ctx context.Context) ([]state.Failed, error) {
	var out []state.Failed
	return out, c.stream(ctx, http.MethodGet, "/failed?payload", nil, func(line json.RawMessage) error {
		var f FailedEvent
		if err := json.Unmarshal(line, &f); err != nil {
			return err
		}
		f.Failed.Payload = f.Payload
		out = append(out, f.Failed)
		return nil
	})
}

// Replay processes failed events again, see engine.Pipeline.Replay.
func (c *Client) Replay(ctx context.Context, ids []string) (*engine.ReplayResult, error) {
	var r engine.ReplayResult
	return &r, c.call(ctx, http.MethodPost, "/failed/replay", selection{ids}, &r)
}

// Skip drops failed events, see engine.Pipeline.Skip.
func (c *Client) Skip(ctx context.Context, ids []string) (*engine.ReplayResult, error) {
	var r engine.ReplayResult
	return &r, c.call(ctx, http.MethodPost, "/failed/skip", selection{ids}, &r)
}

// Query runs a statement at the destination.
func (c *Client) Query(ctx context.Context, sql string, yield func(engine.Rows) error) error {
	return c.stream(ctx, http.MethodPost, "/query", statement{sql}, func(line json.RawMessage) error {
		var rows engine.Rows
		if err := json.Unmarshal(line, &rows); err != nil {
			return err
		}
		return yield(rows)
	})
}

// Plan says what the pipeline would create, change and lose.
func (c *Client) Plan(ctx context.Context) (tables []engine.PlannedTable, err error) {
	return tables, c.call(ctx, http.MethodPost, "/plan", nil, &tables)
}

// PlanDDL says what statements would do, see engine.Pipeline.PlanDDL.
func (c *Client) PlanDDL(ctx context.Context, ddl string) (*engine.DDLPlan, error) {
	var plan engine.DDLPlan
	return &plan, c.call(ctx, http.MethodPost, "/plan/ddl", statement{ddl}, &plan)
}

// Verify compares source and destination, see engine.Pipeline.Verify.
func (c *Client) Verify(ctx context.Context) (v *engine.Verification, err error) {
	err = c.stream(ctx, http.MethodPost, "/verify", nil, func(line json.RawMessage) error {
		return json.Unmarshal(line, &v)
	})
	return v, err
}

func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://leat"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the running engine: %w", err)
	}
	return answer, nil
}

func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	answer, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		var f failure
		if err := json.NewDecoder(answer.Body).Decode(&f); err != nil || f.Error == "" {
			return fmt.Errorf("the running engine answered %s", answer.Status)
		}
		return f.received()
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// stream hands every line but the last to take.
func (c *Client) stream(ctx context.Context, method, path string, body any, take func(json.RawMessage) error) error {
	answer, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	lines := json.NewDecoder(answer.Body)
	for {
		var line json.RawMessage
		if err := lines.Decode(&line); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("the running engine's answer: %w", err)
		}
		var f failure
		if json.Unmarshal(line, &f) == nil && f.Error != "" {
			return f.received()
		}
		if string(line) == "{}" {
			return nil
		}
		if err := take(line); err != nil {
			return err
		}
	}
}
