package compile

import (
	"os"
	"os/exec"
	"path/filepath"
)

func buildGo(j *job) error {
	compiler, err := exec.LookPath("go")
	if err != nil {
		return j.missing("Go", "install Go 1.26 or later from https://go.dev/dl, or with: apt-get install golang")
	}
	// The kit lies beside the plugin: nothing has to be downloaded.
	env := []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOWORK=off"}
	return j.run(env, compiler, "build", "-trimpath", "-buildmode=c-shared", "-ldflags", "-s -w", "-o", j.out, ".")
}

// kit is the folder of the kit: beside the plugin, or, for the examples of
// this repository, two folders up.
func (j *job) kit(has string) (string, error) {
	for _, folder := range []string{KitFolder, filepath.Join("..", "..")} {
		if _, err := os.Stat(filepath.Join(j.dir, folder, has)); err == nil {
			return folder, nil
		}
	}
	return "", j.missing("the kit in the folder "+KitFolder, "leat plugin kit "+j.dir+" writes it there")
}

func buildC(j *job) error {
	kit, err := j.kit("leat.h")
	if err != nil {
		return err
	}
	const hint = "install clang and lld 14 or later, for example with: apt-get install clang lld"
	compiler, err := exec.LookPath("clang")
	if err != nil {
		return j.missing("clang", hint)
	}
	if _, err := exec.LookPath("wasm-ld"); err != nil {
		return j.missing("wasm-ld", hint)
	}
	args := []string{"--target=wasm32", "-std=c11", "-O2", "-Wall", "-Wextra", "-mbulk-memory", "-nostdlib", "-Wl,--no-entry", "-I" + kit, "-o", j.out}
	return j.run(nil, compiler, append(args, sources(j.dir, "*.c")...)...)
}

func buildTypeScript(j *job) error {
	kit, err := j.kit(filepath.Join("assembly", "abort.ts"))
	if err != nil {
		return err
	}
	compiler := assemblyScript(j.dir)
	if compiler == "" {
		return j.missing("the AssemblyScript compiler asc", "install Node.js, then in the plugin's folder run: npm install --save-dev assemblyscript@0.28")
	}
	entry := "plugin.ts"
	if found := sources(j.dir, "*.ts"); len(found) == 1 {
		entry = found[0]
	}
	// asc keeps to the folder that it runs in, and names files from there.
	inside := ""
	if kit != KitFolder {
		up, err := filepath.Rel(filepath.Join(j.dir, kit), j.dir)
		if err != nil {
			return err
		}
		inside, kit = up, "."
		j.dir = filepath.Clean(filepath.Join(j.dir, "..", ".."))
	}
	return j.run(nil, compiler, filepath.Join(inside, entry), "-O3", "--exportStart", "_initialize",
		"--use", "abort="+filepath.ToSlash(filepath.Join(kit, "assembly", "abort", "abort")), "--outFile", j.out)
}

// assemblyScript is asc: that of the plugin's own node_modules or of a folder
// above, or else of the path.
func assemblyScript(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		path := filepath.Join(at, "node_modules", ".bin", "asc")
		if _, err := os.Stat(path); err == nil {
			return path
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	if path, err := exec.LookPath("asc"); err == nil {
		return path
	}
	return ""
}
