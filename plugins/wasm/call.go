package wasm

import (
	"context"
	"errors"
	"time"
)

// call is the state of one guest call, found by host functions through the
// context.
type call struct {
	ctx      context.Context
	instance *instance
	began    time.Time
	// outside is the time spent in host functions, which the deadline does not
	// count.
	outside time.Duration
	// fuel is the most that the call may use.
	fuel int64
	// granted is the fuel given to the counter so far. What the guest has used
	// is granted minus the counter.
	granted int64
	// lines were logged, requests made of host functions.
	lines, requests int
}

type callKey struct{}

type shareKey struct{}

// WithShare has leat_process end at a share of the plugin's fuel, from 0 to 1:
// whoever tries parts of a batch that has met the limit need not pay the whole
// of it for each.
func WithShare(ctx context.Context, share float64) context.Context {
	return context.WithValue(ctx, shareKey{}, share)
}

var (
	errFuel      = errors.New("out of fuel")
	errDeadline  = errors.New("deadline exceeded")
	errCancelled = errors.New("call cancelled")
)

// contractError is a rule of the ABI that the guest broke inside a host
// function; the function panics with it to end the call.
type contractError struct{ message string }

func (e *contractError) Error() string { return e.message }

func newCall(ctx context.Context, in *instance) *call {
	return &call{ctx: ctx, instance: in, began: time.Now(), fuel: int64(in.module.plugin.Limits.Fuel)}
}

// context carries the call into host functions. It is never cancelled by
// itself: wazero must not look at it in loops, tick does.
func (c *call) context() context.Context {
	return context.WithValue(context.WithoutCancel(c.ctx), callKey{}, c)
}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// refill sets the fuel counter for the next stretch after the guest has used
// the given amount.
func (c *call) refill(used int64) {
	stretch := min(tickEvery, c.fuel-used)
	c.granted = used + stretch
	c.instance.fuel.Set(uint64(stretch))
}

// used is the fuel used so far.
func (c *call) used() uint64 {
	return uint64(max(0, c.granted-int64(c.instance.fuel.Get())))
}

// tick is what the instrumented guest calls when its counter is below zero. It
// ends the call by a panic where a limit is met.
func tick(ctx context.Context, _ []uint64) {
	c := callOf(ctx)
	if c == nil || c.instance.fuel == nil {
		panic(errDeadline) // code that runs while the module is instantiated gets one stretch
	}
	c.refill(c.check())
}

// check ends the call by a panic where a limit is met, and returns the fuel used
// so far.
func (c *call) check() int64 {
	used := int64(c.used())
	switch {
	case used > c.fuel:
		panic(errFuel)
	case time.Since(c.began)-c.outside > c.instance.module.plugin.Limits.Deadline:
		panic(errDeadline)
	case c.ctx.Err() != nil:
		panic(errCancelled)
	}
	return used
}
