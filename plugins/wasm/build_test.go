package wasm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// builds holds the compiled guests of one test run.
var builds struct {
	dir  string
	mu   sync.Mutex
	done map[string][]byte
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "leat-wasm")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	builds.dir, builds.done = dir, map[string][]byte{}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// build compiles a Go guest, the folder given relative to this package.
func build(t testing.TB, folder string) []byte {
	t.Helper()
	builds.mu.Lock()
	defer builds.mu.Unlock()
	if code := builds.done[folder]; code != nil {
		return code
	}
	out := filepath.Join(builds.dir, filepath.Base(folder)+".wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags", "-s -w", "-o", out, ".")
	cmd.Dir = folder // which may be of the kit's own module
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", folder, err, text)
	}
	code, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	builds.done[folder] = code
	return code
}

// newHost starts a host that shares its compile cache with the other tests.
func newHost(t testing.TB) *Host {
	t.Helper()
	h, err := NewHost(context.Background(), Config{CacheDir: filepath.Join(builds.dir, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// transform loads a guest as a transform.
func transform(t testing.TB, h *Host, folder string, p Plugin) *Transform {
	t.Helper()
	if p.Name == "" {
		p.Name, p.Version = filepath.Base(folder), "0.1.0"
	}
	tr, err := h.Transform(context.Background(), build(t, folder), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close(context.Background()) })
	return tr
}
