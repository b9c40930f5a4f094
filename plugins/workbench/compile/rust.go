package compile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

const (
	wasmTarget = "wasm32-unknown-unknown"
	rustHint   = "install Rust 1.63 or later and its WebAssembly library, with: rustup target add " + wasmTarget +
		"; or on Debian: apt-get install rustc cargo lld libstd-rust-dev-wasm32"
)

// crate is what a Cargo.toml says that matters here.
type crate struct {
	Package      struct{ Name string }
	Lib          struct{ Path string }
	Dependencies map[string]any
}

// buildRust has cargo build the crate, or, where the compiler comes without
// cargo, builds a crate that needs no other than the kit by itself.
func buildRust(j *job) error {
	compiler := rustc()
	if compiler == "" {
		return j.missing("a Rust compiler with the target "+wasmTarget, rustHint)
	}
	var c crate
	if _, err := toml.DecodeFile(filepath.Join(j.dir, "Cargo.toml"), &c); err != nil {
		return &Error{Dir: j.dir, Language: j.language, Err: fmt.Errorf("read Cargo.toml: %w", err)}
	}
	if cargo := cargoOf(compiler); cargo != "" {
		return j.cargo(cargo, compiler, c)
	}
	kit, ok := c.Dependencies["leat"].(map[string]any)
	path, _ := kit["path"].(string)
	if !ok || path == "" || len(c.Dependencies) > 1 {
		return j.missing("cargo beside "+compiler+", for a crate with other dependencies than the kit", rustHint)
	}
	return j.rustc(compiler, filepath.Join(path, "src", "lib.rs"), c)
}

func (j *job) cargo(cargo, compiler string, c crate) error {
	env := []string{"RUSTC=" + compiler, "CARGO_TERM_COLOR=never"}
	if linker := wasmLinker(); linker != "" {
		env = append(env, "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="+linker)
	}
	if err := j.run(env, cargo, "build", "--quiet", "--release", "--target", wasmTarget, "--target-dir", "target"); err != nil {
		return err
	}
	name := strings.ReplaceAll(c.Package.Name, "-", "_") + ".wasm"
	code, err := os.ReadFile(filepath.Join(j.dir, "target", wasmTarget, "release", name))
	if err != nil {
		return &Error{Dir: j.dir, Language: j.language, Err: err, Hint: `Cargo.toml needs [lib] crate-type = ["cdylib"]`}
	}
	return os.WriteFile(j.out, code, 0o644)
}

// rustc builds the kit and then the plugin with it.
func (j *job) rustc(compiler, kit string, c crate) error {
	library := filepath.Join(filepath.Dir(j.out), "libleat.rlib")
	args := []string{"--edition", "2021", "--target", wasmTarget, "-O", "-C", "panic=abort"}
	if err := j.run(nil, compiler, append(args, "--crate-type", "rlib", "--crate-name", "leat", "-o", library, kit)...); err != nil {
		return err
	}
	source := filepath.Join("src", "lib.rs")
	if c.Lib.Path != "" {
		source = filepath.FromSlash(c.Lib.Path)
	}
	if linker := wasmLinker(); linker != "" {
		args = append(args, "-C", "linker="+linker)
	}
	return j.run(nil, compiler, append(args, "--crate-type", "cdylib", "--crate-name", strings.ReplaceAll(c.Package.Name, "-", "_"),
		"-C", "strip=symbols", "--extern", "leat="+library, "-o", j.out, source)...)
}

// rustc is a compiler that has WebAssembly's library: the one of the path, or
// else the distribution's; empty if there is none.
func rustc() string {
	for _, name := range []string{"rustc", "/usr/bin/rustc"} {
		compiler, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		root, err := exec.Command(compiler, "--print", "sysroot").Output()
		if err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(strings.TrimSpace(string(root)), "lib", "rustlib", wasmTarget, "lib")); err == nil {
			return compiler
		}
	}
	return ""
}

// cargoOf is the cargo that goes with a compiler: the one beside it. Another
// one asks it what it does not know.
func cargoOf(compiler string) string {
	path := filepath.Join(filepath.Dir(compiler), "cargo")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// wasmLinker is a linker for compilers that do not bring one, as the
// distribution's; empty leaves the choice to them.
func wasmLinker() string {
	path, err := exec.LookPath("wasm-ld")
	if err != nil {
		return ""
	}
	return path
}
