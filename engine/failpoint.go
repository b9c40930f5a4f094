package engine

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// armed is the failpoint of this process: LEAT_FAILPOINT=name or name:n kills
// the process, as kill -9 would, the n-th time the point is reached. The crash
// tests use it; nothing else sets it.
var armed = func() (a struct {
	name string
	left atomic.Int64
}) {
	name, n, counted := strings.Cut(os.Getenv("LEAT_FAILPOINT"), ":")
	a.name = name
	a.left.Store(1)
	if v, err := strconv.ParseInt(n, 10, 64); counted && err == nil {
		a.left.Store(v)
	}
	return
}

// FailPoints lists the places at which a process can be made to die.
var FailPoints = []string{
	"slot-intent", "slot-created", "load-planned", "chunk-written", "chunk-committed", "chunk-recorded",
	"delivery-written", "failed-stored", "destination-committed", "position-recorded", "acknowledged", "idle-recorded",
	"load-snapshot", "diverted-appended", "diverted-synced", "diverted-applied", "load-read", "load-joined",
	"query-bounded", "query-written", "query-committed", "deletes-written",
}

var failing = armed()

// held is where goroutines of this process wait; only tests set it.
var held atomic.Pointer[hold]

type hold struct {
	name             string
	left             atomic.Int64
	reached, release chan struct{}
}

func failpoint(name string) {
	if h := held.Load(); h != nil && h.name == name {
		if n := h.left.Add(-1); n <= 0 {
			if n == 0 {
				close(h.reached)
			}
			<-h.release
		}
	}
	if failing.name == name && failing.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
