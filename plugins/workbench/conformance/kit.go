// Package conformance drives a destination plugin through all that a source can
// do to it, fails each of its host calls in turn, and compares what the
// database holds with a model. What comes of it is a score by capability.
//
// The kit treats the plugin as the engine does: it plans, reduces batches as
// the plugin asked for, writes, commits rows and checkpoint together, takes a
// failed delivery back, opens a lost connection anew, and goes on from the
// checkpoint that it reads. At each of these moments the live rows must be
// those of the model at exactly that checkpoint.
package conformance

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/wasm"
)

// Kit is what a destination is tried with.
type Kit struct {
	Host   *wasm.Host
	Bundle *bundle.Bundle
	// Config is the plugin's settings, files in them relative to Dir. They name
	// a database that may be written to; the kit drops the tables it makes.
	Config json.RawMessage
	Dir    string
	// Only are the capabilities to try; none are all.
	Only []string
	// Quick strikes every seventh host call instead of each.
	Quick bool
	// Progress, if it is not nil, is told of each capability before it is tried.
	Progress func(capability string)

	run    string // tells this run's tables and checkpoints from others
	trials int
	made   map[string]bool // the targets that were planned
}

// Report is the score of a destination.
type Report struct {
	Plugin string `json:"plugin"`
	Digest string `json:"digest"`
	// Passed of Of points hold, over all capabilities.
	Passed int `json:"score"`
	Of     int `json:"of"`
	// Partial: not everything was tried.
	Partial bool    `json:"partial,omitempty"`
	Scores  []Score `json:"scores"`
	// Left are tables that the kit could not drop again.
	Left []string `json:"left,omitempty"`
}

// Score says how many points of a capability hold.
type Score struct {
	Capability string `json:"capability"`
	Passed     int    `json:"passed"`
	Points     int    `json:"points"`
	// Failures are the first points that do not hold.
	Failures []Failure `json:"failures,omitempty"`
}

// Failure is a point that does not hold.
type Failure struct {
	Point  string `json:"point"`
	Detail string `json:"detail"`
}

const maxFailures = 5

// Full says whether every point holds that was tried.
func (r *Report) Full() bool { return r.Passed == r.Of }

// sum adds up what the capabilities have.
func (r *Report) sum() {
	for _, s := range r.Scores {
		r.Passed, r.Of = r.Passed+s.Passed, r.Of+s.Points
	}
}

func (s *Score) point(name string, err error) {
	s.Points++
	if err == nil {
		s.Passed++
		return
	}
	if len(s.Failures) < maxFailures {
		s.Failures = append(s.Failures, Failure{name, err.Error()})
	}
}

// Run tries everything. An error says that the kit itself could not go on; what
// the plugin does wrong is in the report.
func (k *Kit) Run(ctx context.Context) (r *Report, err error) {
	k.run, k.trials, k.made = strings.ToLower(rand.Text()[:6]), 0, map[string]bool{}
	r = &Report{Plugin: k.Bundle.Manifest.Ref().String(), Digest: k.Bundle.Digest, Partial: k.Quick || len(k.Only) > 0}
	defer func() {
		var failed error
		r.Left, failed = k.drop(ctx)
		err = errors.Join(err, failed)
	}()
	for _, part := range k.parts() {
		if len(k.Only) > 0 && !slices.Contains(k.Only, part.capability) {
			continue
		}
		if err := k.score(ctx, r, part.capability, part.try); err != nil {
			return r, err
		}
	}
	r.sum()
	return r, nil
}

// part is what is tried of one capability.
type part struct {
	capability string
	try        func(context.Context, *Score) error
}

func (k *Kit) parts() []part {
	var out []part
	for _, s := range scenarios {
		out = append(out, part{s.capability, func(ctx context.Context, score *Score) error { return k.scenario(ctx, score, s) }})
	}
	return append(out, part{"checkpoints", k.checkpoints}, part{"plans", k.plans}, part{"names", k.names}, part{"faults", k.faults})
}

// Capabilities are the names that Only takes.
func Capabilities() []string {
	var out []string
	for _, p := range (&Kit{}).parts() {
		out = append(out, p.capability)
	}
	return out
}

func (k *Kit) score(ctx context.Context, r *Report, capability string, try func(context.Context, *Score) error) error {
	if k.Progress != nil {
		k.Progress(capability)
	}
	s := Score{Capability: capability}
	err := try(ctx, &s)
	r.Scores = append(r.Scores, s)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("try %s: %w", capability, err)
	}
	return nil
}

// scenario delivers each story as it is, and again with a restart after each
// delivery.
func (k *Kit) scenario(ctx context.Context, score *Score, s scenario) error {
	for _, c := range s.cases {
		for _, restart := range []bool{false, true} {
			name := c.name
			if restart {
				name += ", opened anew after each delivery"
			}
			t, err := k.newTrial(c, nil)
			if err != nil {
				return err
			}
			t.restart = restart
			score.point(name, errors.Join(t.deliverAll(ctx), t.close(ctx)))
		}
	}
	return nil
}
