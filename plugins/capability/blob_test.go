package capability

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestBlobStaysInItsFolder(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "files")
	b, err := NewBlob(dir)
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
	}
	if text, err := os.ReadFile(secret); err != nil || string(text) != "s" {
		t.Errorf("the file outside holds %q, %v", text, err)
	}
}
