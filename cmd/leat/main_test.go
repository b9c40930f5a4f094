package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestMain keeps what the tests compile out of the user's cache, once for all
// of them.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	cache, err := os.MkdirTemp("", "leat-cache-")
	if err == nil {
		defer os.RemoveAll(cache)
		err = os.Setenv("XDG_CACHE_HOME", cache)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return pgserver.Main(m)
}
