package engine

import "testing"

// HoldAt lets the goroutines of this process wait at a failpoint from the n-th
// time on that it is reached, until release or the end of the test.
func HoldAt(t *testing.T, name string, n int64) (reached <-chan struct{}, release func()) {
	h := &hold{name: name, reached: make(chan struct{}), release: make(chan struct{})}
	h.left.Store(n)
	held.Store(h)
	released := false
	release = func() {
		if !released {
			released = true
			held.Store(nil)
			close(h.release)
		}
	}
	t.Cleanup(release)
	return h.reached, release
}
