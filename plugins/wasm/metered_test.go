package wasm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What a crash or a full disk made of a cached module is not used, and the
// code from the cache is metered.
func TestMeteredModulesFromTheCache(t *testing.T) {
	dir := t.TempDir()
	endless := good(computes)
	endless.process = endlessLoop
	wantFuel := func(step string) {
		t.Helper()
		h, err := NewHost(context.Background(), Config{CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close(context.Background())
		tr := mustLoad(t, h, endless)
		_, err = tr.Process(context.Background(), mustPlan(t, tr, PlanInput{Schema: customers("d")}), twoRows())
		var failure *Error
		if !errors.As(err, &failure) || failure.Kind != KindFuel {
			t.Errorf("%s: the endless loop ended with %v", step, err)
		}
	}
	cached := func() (string, []byte) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "metered-*.wasm"))
		if err != nil || len(files) != 1 {
			t.Fatal("cached:", files, err)
		}
		content, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		return files[0], content
	}
	wantFuel("first")
	file, want := cached()
	wantFuel("from the cache")
	code := endless.bytes()
	for name, damage := range map[string][]byte{"cut": want[:len(want)-1], "empty": nil, "not metered": append(want[:32:32], code...)} {
		if err := os.WriteFile(file, damage, 0o600); err != nil {
			t.Fatal(err)
		}
		wantFuel(name)
		if _, now := cached(); string(now) != string(want) {
			t.Errorf("%s: %d bytes in the cache, want the %d of a good one", name, len(now), len(want))
		}
	}
}
