package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// consumption is when a contender began to consume and what its walsender used.
type consumption struct {
	began time.Time
	cpu   float64 // seconds, 0 where /proc does not say
}

// walsender is the condition under which a backend of the source is one.
const walsender = "backend_type = 'walsender'"

// observed runs a contender and looks from beside at its backend, the first
// for which which holds. It began when the server started that: programs and
// plugins are loaded by then.
func (b *bench) observed(ctx context.Context, which string, run func(context.Context) error) (consumption, error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	type outcome struct {
		c   consumption
		err error
	}
	seen := make(chan outcome, 1)
	go func() {
		c, err := b.observe(watching, which)
		seen <- outcome{c, err}
	}()
	err := run(ctx)
	stop()
	o := <-seen
	if err == nil {
		err = o.err
	}
	return o.c, err
}

// observe waits for a backend and follows its CPU time until ctx ends.
func (b *bench) observe(ctx context.Context, which string) (c consumption, err error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	pid := 0
	for pid == 0 {
		// The query is not cut short by ctx: that would cost the connection.
		err := b.watch.QueryRow(context.WithoutCancel(ctx), "SELECT pid, backend_start FROM pg_stat_activity WHERE "+which+" ORDER BY backend_start LIMIT 1").Scan(&pid, &c.began)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return c, fmt.Errorf("look for the backend: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if pid == 0 {
				return c, fmt.Errorf("no backend with %s was seen", which)
			}
		}
	}
	tick.Reset(25 * time.Millisecond)
	for {
		if used := cpuOf(pid); used > 0 {
			c.cpu = used
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return c, nil
		}
	}
}

// clockTicks is the unit of /proc/<pid>/stat on every Linux that Go runs on.
const clockTicks = 100

// cpuOf is the CPU time of a process, 0 if it is gone or there is no /proc.
func cpuOf(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, after, ok := strings.Cut(string(text), ") ")
	fields := strings.Fields(after)
	if !ok || len(fields) < 13 {
		return 0
	}
	user, errUser := strconv.ParseInt(fields[11], 10, 64)
	system, errSystem := strconv.ParseInt(fields[12], 10, 64)
	if errUser != nil || errSystem != nil {
		return 0
	}
	return float64(user+system) / clockTicks
}
