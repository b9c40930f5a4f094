package wasm

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/leat-etl/leat/plugins/wasm/meter"
)

// ABI is the version of the plugin interface that this host speaks.
const ABI = 1

// Config configures a Host.
type Config struct {
	// CacheDir keeps compiled modules and what they planned between runs; empty keeps them in memory.
	CacheDir string
	// Log receives what plugins log; nil discards it.
	Log *slog.Logger
}

// Host runs plugins. It is safe for concurrent use.
type Host struct {
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	log     *slog.Logger
	// cacheDir keeps metered modules and plans, empty for none.
	cacheDir string

	mu    sync.Mutex
	known map[[sha256.Size]byte]*machineCode // by the digest of their code
}

// NewHost starts a runtime without any module.
func NewHost(ctx context.Context, c Config) (*Host, error) {
	cache := wazero.NewCompilationCache()
	if c.CacheDir != "" {
		var err error
		if cache, err = wazero.NewCompilationCacheWithDir(c.CacheDir); err != nil {
			return nil, fmt.Errorf("open compile cache %s: %w", c.CacheDir, err)
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	config := wazero.NewRuntimeConfig().
		WithCompilationCache(cache).
		WithCoreFeatures(api.CoreFeaturesV2)
	h := &Host{runtime: wazero.NewRuntimeWithConfig(ctx, config), cache: cache, log: c.Log, cacheDir: c.CacheDir, known: map[[sha256.Size]byte]*machineCode{}}
	if err := h.defineImports(ctx); err != nil {
		h.Close(ctx)
		return nil, err
	}
	return h, nil
}

// Close ends every instance and frees what the host holds. No call may be
// running.
func (h *Host) Close(ctx context.Context) error {
	err := h.runtime.Close(ctx)
	if e := h.cache.Close(ctx); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("close plugin host: %w", err)
	}
	return nil
}

// defineImports makes the modules that guests import from.
func (h *Host) defineImports(ctx context.Context) error {
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, h.runtime); err != nil {
		return fmt.Errorf("define WASI: %w", err)
	}
	i32 := api.ValueTypeI32
	ticks := h.runtime.NewHostModuleBuilder(meter.TickModule)
	ticks.NewFunctionBuilder().WithGoFunction(api.GoFunc(tick), nil, nil).Export(meter.TickName)
	if _, err := ticks.Instantiate(ctx); err != nil {
		return fmt.Errorf("define the meter: %w", err)
	}
	leat := h.runtime.NewHostModuleBuilder("leat")
	leat.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(hostLog), []api.ValueType{i32, i32, i32}, nil).Export("log")
	leat.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(hostReply), []api.ValueType{i32, i32}, nil).Export("reply")
	for name, f := range hostFunctions {
		if f == nil {
			continue
		}
		leat.NewFunctionBuilder().WithGoModuleFunction(jsonFunction(name, f), []api.ValueType{i32, i32}, []api.ValueType{i32}).Export(name)
	}
	leat.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(hostKernelRun), []api.ValueType{i32, i32}, []api.ValueType{i32}).Export("kernel_run")
	leat.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(hostKernelResult), []api.ValueType{i32, i32}, nil).Export("kernel_result")
	leat.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(hostClock), nil, []api.ValueType{api.ValueTypeI64}).Export("clock_now")
	leat.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(hostRandom), []api.ValueType{i32, i32}, nil).Export("random_fill")
	if _, err := leat.Instantiate(ctx); err != nil {
		return fmt.Errorf("define host functions: %w", err)
	}
	return nil
}
