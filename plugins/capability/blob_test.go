package capability

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestBlobStaysInItsFolder(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "files")
	b, err := NewBlob(dir, BlobUse{1 << 20, 100})
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(parent, "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(parent, filepath.Join(dir, "up")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a/b.txt", "c"} {
		if err := b.Put(name, []byte("x"+name)); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Get(name); err != nil || string(got) != "x"+name {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
	if names, err := b.List("", 10); err != nil || !reflect.DeepEqual(names, []string{"a/b.txt", "c"}) {
		t.Errorf("files are %v, %v", names, err)
	}
	if names, err := b.List("", 1); err != nil || len(names) != 1 {
		t.Errorf("one file is %v, %v", names, err)
	}
	if got, err := b.Get("nothing"); got != nil || err != nil {
		t.Errorf("a missing file holds %q, %v", got, err)
	}
	if err := errors.Join(b.Delete("c"), b.Delete("c")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"../secret", "/etc/passwd", "a/../../secret", "", ".", "a//b", `a\b`, "x.part", "link", "up/secret"} {
		var e *Error
		if got, err := b.Get(name); !errors.As(err, &e) {
			t.Errorf("get %q gave %q, %v", name, got, err)
		}
		if name == "link" {
			continue // replaced, which is within the folder
		}
		if err := b.Put(name, []byte("x")); !errors.As(err, &e) {
			t.Errorf("put %q: %v", name, err)
		}
		if err := NewMemoryFiles().Put(name, nil); name != "up/secret" && !errors.As(err, &e) {
			t.Errorf("put %q into memory: %v", name, err)
		}
	}
	if text, err := os.ReadFile(secret); err != nil || string(text) != "s" {
		t.Errorf("the file outside holds %q, %v", text, err)
	}
}

func TestBlobQuota(t *testing.T) {
	dir := t.TempDir()
	open := func() *Blob {
		b, err := NewBlob(dir, BlobUse{Bytes: 100, Files: 4})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := open()
	put := func(name string, size int, want string) {
		t.Helper()
		err := b.Put(name, make([]byte, size))
		var e *Error
		switch {
		case want == "" && err != nil:
			t.Errorf("put %s: %v", name, err)
		case want != "" && (!errors.As(err, &e) || e.Class != Resource || !strings.Contains(e.Message, want)):
			t.Errorf("put %s: %v, want %q", name, err, want)
		}
	}
	put("a", 60, "")
	put("b", 41, "would hold 101 bytes, the most are 100: delete files, or raise blob_bytes in the plugin's grants")
	put("a", 100, "") // another content of the same file
	put("a", 10, "")
	put("d/e", 1, "")
	put("d/f", 1, "")
	put("g/h", 0, "would hold 6 files and folders, the most are 4: delete files, or raise blob_files in the plugin's grants")
	if names, err := b.List("", 10); err != nil || len(names) != 3 {
		t.Errorf("files are %v, %v: what was refused is there", names, err)
	}
	if err := b.Delete("d/f"); err != nil {
		t.Error(err)
	}
	put("c", 89, "")
	put("c", 90, "101 bytes")
	if err := os.Remove(filepath.Join(dir, "c")); err != nil { // somebody makes room
		t.Fatal(err)
	}
	put("i", 80, "")
	b = open() // what is there counts after a new start, too
	put("i", 90, "101 bytes")
	put("j", 0, "5 files")
}
