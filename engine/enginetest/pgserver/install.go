package pgserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
)

// Oldest is the first major version that Find takes when none is asked for.
const Oldest = 14

// Install is a PostgreSQL whose servers can be started.
type Install struct {
	Bin     string // the folder of initdb and postgres
	Major   int
	Version string // as postgres --version prints it
}

// MissingError says that no fitting PostgreSQL is installed and what to run.
type MissingError struct {
	Version string // the major version asked for, empty for any
}

func (e *MissingError) Error() string {
	if e.Version == "" {
		return fmt.Sprintf("find PostgreSQL %d or later: no initdb and postgres in PATH, the system's folders or build/postgres: "+
			"run `go tool task setup`, or install PostgreSQL and put its bin folder into PATH", Oldest)
	}
	return fmt.Sprintf("find PostgreSQL %[1]s: not in PATH, the system's folders, build/postgres/%[1]s or $LEAT_POSTGRES_%[1]s: "+
		"run `go run ./engine/enginetest/pgserver/setup %[1]s`, or set LEAT_POSTGRES_%[1]s to the folder of its initdb and postgres", e.Version)
}

// Find looks for the PostgreSQL of a major version, or for the newest one from
// Oldest on when version is empty. LEAT_POSTGRES_<version>, a bin folder or
// its parent, goes before everything else. The error is a *MissingError when
// there is none.
func Find(version string) (Install, error) {
	if version != "" {
		if dir := os.Getenv("LEAT_POSTGRES_" + version); dir != "" {
			return named(version, dir)
		}
	}
	var best Install
	for _, dir := range binFolders() {
		in, err := inspect(dir)
		if err != nil {
			continue // a folder without a usable server
		}
		if version == "" && in.Major >= Oldest && in.Major > best.Major || version != "" && strconv.Itoa(in.Major) == version {
			best = in
			if version != "" {
				break
			}
		}
	}
	if best.Bin == "" {
		return Install{}, &MissingError{Version: version}
	}
	return best, nil
}

// named takes the installation that an environment variable points to.
func named(version, dir string) (Install, error) {
	in, err := inspect(dir)
	if err != nil {
		in, err = inspect(filepath.Join(dir, "bin"))
	}
	if err != nil {
		return Install{}, fmt.Errorf("use LEAT_POSTGRES_%s=%s: %w", version, dir, err)
	}
	if strconv.Itoa(in.Major) != version {
		return Install{}, fmt.Errorf("use LEAT_POSTGRES_%s=%s: it holds %s", version, dir, in.Version)
	}
	return in, nil
}

// binFolders lists the folders that may hold servers, the preferred first.
func binFolders() []string {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			panic(err) // a malformed pattern above
		}
		dirs = append(dirs, found...)
	}
	for _, cache := range cacheFolders() {
		found, _ := filepath.Glob(filepath.Join(cache, "*", "bin")) // a folder name that is no pattern holds nothing of ours
		dirs = append(dirs, found...)
	}
	return slices.DeleteFunc(dirs, func(dir string) bool { return !filepath.IsAbs(dir) })
}

// cacheFolders lists every build/postgres above the working folder and above
// the running program.
func cacheFolders() []string {
	var starts, caches []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if program, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(program))
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			cache := filepath.Join(dir, "build", "postgres")
			if !slices.Contains(caches, cache) {
				caches = append(caches, cache)
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return caches
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// inspect asks the postgres in dir for its version.
func inspect(dir string) (Install, error) {
	for _, name := range []string{"initdb", "postgres"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return Install{}, fmt.Errorf("inspect PostgreSQL: %w", err)
		}
		if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			return Install{}, fmt.Errorf("inspect PostgreSQL: %s in %s is not a program", name, dir)
		}
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").CombinedOutput()
	if err != nil {
		return Install{}, fmt.Errorf("inspect PostgreSQL in %s (%s/%s): %w: %s", dir, runtime.GOOS, runtime.GOARCH, err, out)
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return Install{}, fmt.Errorf("inspect PostgreSQL in %s: version %q is not understood", dir, out)
	}
	major, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return Install{}, fmt.Errorf("inspect PostgreSQL in %s: %w", dir, err)
	}
	return Install{Bin: dir, Major: major, Version: string(out[:len(out)-1])}, nil
}
