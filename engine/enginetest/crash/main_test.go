// Package crash proves that no row is lost or doubled whatever dies. It runs
// the real program under the random work of package workload, kills it at every
// failpoint and at random moments, kills the source's server, stops it in
// order, and then compares every row of the destination with the source.
//
//	go test -tags duckdb_arrow ./engine/enginetest/crash -args -seed 4711
//
// repeats the work, the order of the kills and their counts of a run; the
// moments themselves are the machine's.
package crash

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

var (
	seed   = flag.Int64("seed", time.Now().UnixNano()%1_000_000, "seed of the work and of the kills")
	rounds = flag.Int("rounds", 3, "how often TestKilledAmidObjects restarts an object or makes a table, and kills")
)

func TestMain(m *testing.M) {
	flag.Parse()
	fmt.Printf("seed %d (repeat with -args -seed %d)\n", *seed, *seed)
	folder, err := os.MkdirTemp("", "leat-crash-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	programFolder = folder
	code := pgserver.Main(m)
	os.RemoveAll(folder)
	os.Exit(code)
}

// root is the module's folder: tests run in that of their package.
const root = "../../.."

var programFolder string

// program is the path of leat as it is in this work tree, built once.
var program = sync.OnceValues(func() (string, error) {
	for _, plugin := range []string{"duckdb", "postgres", "merge-tables", "database-name"} {
		if _, err := os.Stat(filepath.Join(root, "plugins/bundle/bundled", plugin+".wasm")); err != nil {
			return "", fmt.Errorf("plugin %s is not compiled: run `go tool task plugins`", plugin)
		}
	}
	path := filepath.Join(programFolder, "leat")
	build := exec.Command("go", "build", "-buildvcs=false", "-tags", "duckdb_arrow", "-o", path, "./cmd/leat")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("build leat: %w", err), errors.New(string(out)))
	}
	return path, nil
})
