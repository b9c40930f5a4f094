package state

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets this binary be the other process of the lock tests.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LEAT_TEST_HOLD"); dir != "" {
		holdFolder(dir)
		return
	}
	os.Exit(m.Run())
}

// holdFolder opens a state folder, says so and waits for its end.
func holdFolder(dir string) {
	s, err := Open(dir, Options{Pipeline: "shop"})
	if err == nil {
		err = errors.Join(s.PutSource(Source{Database: "eu", Generation: 7}), s.SetSocket("/run/leat.sock"))
	}
	if err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Stdout.WriteString("open\n")
	bufio.NewReader(os.Stdin).ReadString('\n')
}

func startHolder(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "LEAT_TEST_HOLD="+dir)
	if _, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "open\n" {
		t.Fatalf("holder: %q %v", line, err)
	}
	return cmd
}

func TestLockNamesTheHolderAndDiesWithIt(t *testing.T) {
	dir := t.TempDir()
	holder := startHolder(t, dir)
	for name, open := range map[string]func(string, Options) (*Store, error){"writer": Open, "reader": OpenReadOnly} {
		_, err := open(dir, Options{Pipeline: "shop"})
		var locked *LockedError
		if !errors.As(err, &locked) {
			t.Fatalf("%s: %v, want a LockedError", name, err)
		}
		h := locked.Holder
		if h.PID != holder.Process.Pid || h.Pipeline != "shop" || h.Socket != "/run/leat.sock" || h.Started.IsZero() || h.Host == "" {
			t.Errorf("%s: holder %+v", name, h)
		}
		for _, part := range []string{dir, `"shop"`, "leat status", "kill"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not say %q", name, err, part)
			}
		}
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	holder.Wait()
	s, err := Open(dir, Options{Pipeline: "shop"})
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	defer s.Close()
	if src, err := s.Source("eu"); err != nil || src.Generation != 7 {
		t.Errorf("the killed process wrote: %+v %v", src, err)
	}
}

func TestLockOfTheSameProcess(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{Pipeline: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if _, err := Open(dir, Options{Pipeline: "shop"}); !errors.As(err, &locked) || locked.Holder.PID != os.Getpid() {
		t.Errorf("second open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, holderName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("holder file after close: %v", err)
	}
}

// TestDeadHolder leaves a holder file of a process that is gone and a lock
// held by somebody without a name: the dead one must not be blamed.
func TestDeadHolder(t *testing.T) {
	dir := t.TempDir()
	exited := exec.Command("true")
	if err := exited.Run(); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(Holder{PID: exited.Process.Pid, Pipeline: "shop", Host: host})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, holderName), text, 0o644); err != nil {
		t.Fatal(err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.release(false)
	var locked *LockedError
	if _, err := Open(dir, Options{Pipeline: "shop"}); !errors.As(err, &locked) || locked.Holder.PID != 0 {
		t.Errorf("open: %v", err)
	}
}

func TestOpenReadOnly(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenReadOnly(dir, Options{Pipeline: "shop"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before the first run: %v", err)
	}
	s, err := Open(dir, Options{Pipeline: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.PutSource(Source{Database: "eu", Generation: 3}), s.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReadOnly(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if src, err := r.Source("eu"); err != nil || src.Generation != 3 {
		t.Errorf("source %+v %v", src, err)
	}
	if err := r.PutSource(Source{Database: "eu"}); err == nil {
		t.Error("a reader could write")
	}
	if err := r.SetSocket("x"); err == nil {
		t.Error("a reader could publish a socket")
	}
}

func TestForeignFolders(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{Pipeline: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var folder *FolderError
	if _, err := Open(dir, Options{Pipeline: "till"}); !errors.As(err, &folder) || !strings.Contains(err.Error(), `belongs to pipeline "shop", not to "till"`) {
		t.Errorf("other pipeline: %v", err)
	}
	if s, err = Open(dir, Options{Pipeline: "shop"}); err != nil {
		t.Fatal(err)
	}
	newer := func(tx *Tx) error {
		return tx.putJSON([]byte{spaceMeta}, meta{Format: FormatVersion + 1, Pipeline: "shop"})
	}
	if err := errors.Join(s.Update(newer), s.Close()); err != nil {
		t.Fatal(err)
	}
	for _, open := range []func(string, Options) (*Store, error){Open, OpenReadOnly} {
		if _, err := open(dir, Options{Pipeline: "shop"}); !errors.As(err, &folder) || !strings.Contains(err.Error(), "written by a newer Leat (format 2, this one knows up to 1): upgrade") {
			t.Errorf("newer format: %v", err)
		}
	}
	if _, err := Open(t.TempDir(), Options{}); err == nil {
		t.Error("a pipeline without a name")
	}
}

// TestNewerPebble has a folder in a format of a later Pebble.
func TestNewerPebble(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{Pipeline: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	markers, err := filepath.Glob(filepath.Join(dir, dbName, "marker.format-version.*"))
	if err != nil || len(markers) != 1 {
		t.Fatalf("%q %v", markers, err)
	}
	if err := os.Rename(markers[0], filepath.Join(dir, dbName, "marker.format-version.000099.999")); err != nil {
		t.Fatal(err)
	}
	var folder *FolderError
	if _, err := Open(dir, Options{Pipeline: "shop"}); !errors.As(err, &folder) || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("newer Pebble: %v", err)
	}
}
