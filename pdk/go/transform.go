package pdk

import (
	"encoding/json"
	"errors"
	"fmt"
)

// transform is the registered planner, with the plans it has made by the
// host's number.
var transform struct {
	plan   func(*PlanInput) (*Plan, error)
	plans  map[uint32]*Plan
	output Output
}

// RegisterTransform makes the plugin a transform. Call it once, from init.
func RegisterTransform(plan func(*PlanInput) (*Plan, error)) {
	if transform.plan != nil || destination.impl != nil {
		panic("pdk: a plugin registers one transform or one destination, once")
	}
	transform.plan, transform.plans = plan, map[uint32]*Plan{}
}

type planRequest struct {
	ABI       int             `json:"abi"`
	Kind      string          `json:"kind"`
	Plan      uint32          `json:"plan"`
	Config    json.RawMessage `json:"config"`
	Schema    *Schema         `json:"schema"`
	Peers     []*Schema       `json:"peers"`
	Databases []string        `json:"databases"`
	Kernels   []string        `json:"kernels"`
	Features  []string        `json:"features"`
}

// planTransform answers a plan request.
func planTransform(r *planRequest) (*Plan, error) {
	if transform.plan == nil {
		return nil, errors.New("this plugin is not a transform")
	}
	p, err := transform.plan(&PlanInput{Schema: r.Schema, Peers: r.Peers, Databases: r.Databases, Kernels: r.Kernels, Features: r.Features, RawConfig: r.Config})
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, errors.New("the plugin returned no plan")
	}
	if p.Needs == nil {
		p.Needs = []int{}
	}
	if p.Computed == nil {
		p.Computed = []string{}
	}
	if p.Outputs == nil {
		p.Outputs = []Table{}
	}
	for _, i := range p.Needs {
		if i < 0 || i >= len(r.Schema.Columns) {
			return nil, fmt.Errorf("the plan needs column %d of a table with %d", i, len(r.Schema.Columns))
		}
		p.widths = append(p.widths, Width(r.Schema.Columns[i].Format))
	}
	transform.plans[r.Plan] = p
	return p, nil
}

// process runs plan id on a batch.
func process(id uint32, b *Batch) (o *Output, err error) {
	defer recovered(&err)
	p := transform.plans[id]
	if p == nil {
		return nil, fmt.Errorf("no plan has number %d", id)
	}
	if p.native() {
		return nil, errors.New("process was called for a plan that computes nothing")
	}
	o = &transform.output
	o.reset(p, b)
	if err := p.Run(b, o); err != nil {
		return nil, err
	}
	return o, o.check()
}

// needWidth is the width of the column that the batch of plan p has at index i.
func (p *Plan) needWidth(i int) int {
	if p == nil || i >= len(p.widths) {
		return -2
	}
	return p.widths[i]
}
