package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func archive(t *testing.T, files map[string]string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func TestUnpackMakesProgramsRunnableAndLinks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	err := unpack(archive(t, map[string]string{
		"package/README.md":                "not wanted",
		"package/native/bin/postgres":      "program",
		"package/native/lib/libz.so.1.2":   "library",
		"package/native/pg-symlinks.json":  `[{"source":"native/lib/libz.so.1.2","target":"native/lib/libz.so"}]`,
		"package/native/share/deep/x.conf": "x",
	}), dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "bin", "postgres"))
	if err != nil || info.Mode().Perm()&0o555 != 0o555 {
		t.Errorf("bin/postgres: mode %v, %v", info.Mode(), err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "lib", "libz.so")); err != nil || string(text) != "library" {
		t.Errorf("through the link: %q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "README.md")); err == nil {
		t.Error("a file outside native was unpacked")
	}
}

func TestUnpackRefusesToLeaveItsFolder(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"file": {"package/native/../../../escaped": "x"},
		"link": {
			"package/native/lib/a":            "x",
			"package/native/pg-symlinks.json": `[{"source":"native/lib/a","target":"native/../../escaped"}]`,
		},
		"link to nothing": {"package/native/pg-symlinks.json": `[{"source":"native/lib/a","target":"native/lib/b"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			if err := unpack(archive(t, files), filepath.Join(top, "tree")); err == nil {
				t.Error("unpacked without an error")
			}
			if left, _ := filepath.Glob(filepath.Join(top, "escaped")); len(left) > 0 {
				t.Error("a file lies outside the folder")
			}
		})
	}
}

func TestUnknownVersionSaysWhatToDo(t *testing.T) {
	err := installNPM(t.Context(), "12", io.Discard)
	if err == nil || !strings.Contains(err.Error(), "LEAT_POSTGRES_12") {
		t.Errorf("error is %v", err)
	}
}
