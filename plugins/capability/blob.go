package capability

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
)

// Files are what a plugin keeps under names.
type Files interface {
	// Put writes a file whole. It fails with an Error of class Resource beyond the
	// quota.
	Put(name string, data []byte) error
	// Get reads a file, nil where there is none.
	Get(name string) ([]byte, error)
	Delete(name string) error
	// List returns up to limit names that start with prefix, in order.
	List(prefix string, limit int) ([]string, error)
}

// Blob is a folder that a plugin may keep files in, up to a quota. Names are
// slash-separated and cannot lead out of it, by links neither.
type Blob struct {
	dir   string
	quota BlobUse

	mu   sync.Mutex
	used *BlobUse // nil until the first write has looked
}

// BlobUse is what a folder holds, whoever has put it there.
type BlobUse struct {
	Bytes int64
	Files int // and folders
}

// MaxBlob bounds one file that passes through a plugin's memory.
const MaxBlob = 64 << 20

// NewBlob makes the folder if it is not there.
func NewBlob(dir string, quota BlobUse) (*Blob, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of a plugin: %w", err)
	}
	return &Blob{dir: dir, quota: quota}, nil
}

// use looks at what the folder holds.
func use(root *os.Root) (*BlobUse, error) {
	u := &BlobUse{}
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		u.Files++
		if info, err := d.Info(); err == nil && d.Type().IsRegular() {
			u.Bytes += info.Size()
		}
		return nil
	})
	return u, err
}

// added is what a file would add, the folders above it included.
func added(root *os.Root, name string, size int) BlobUse {
	a := BlobUse{Bytes: int64(size)}
	for at := name; at != "."; at = path.Dir(at) {
		if info, err := root.Lstat(at); err != nil {
			a.Files++
		} else if at == name {
			a.Bytes -= info.Size()
		}
	}
	return a
}

// admit keeps a file within the quota. The folder is looked at again before one
// is refused: others may have made room.
func (b *Blob) admit(root *os.Root, name string, size int) (err error) {
	a := added(root, name, size)
	for again := b.used != nil; ; again = false {
		if b.used == nil {
			if b.used, err = use(root); err != nil {
				return err
			}
		}
		u := BlobUse{b.used.Bytes + a.Bytes, b.used.Files + a.Files}
		over := ""
		switch {
		case a.Bytes > 0 && u.Bytes > b.quota.Bytes:
			over = fmt.Sprintf("%d bytes, the most are %d: delete files, or raise blob_bytes in the plugin's grants in the pipeline file", u.Bytes, b.quota.Bytes)
		case a.Files > 0 && u.Files > b.quota.Files:
			over = fmt.Sprintf("%d files and folders, the most are %d: delete files, or raise blob_files in the plugin's grants in the pipeline file", u.Files, b.quota.Files)
		}
		if over == "" {
			*b.used = u
			return nil
		}
		if b.used = nil; !again {
			return &Error{Class: Resource, Message: fmt.Sprintf("with %q the folder %s would hold %s", name, b.dir, over)}
		}
	}
}

// within runs f on a file, or on the folder itself, which it cannot leave.
func (b *Blob) within(what, name string, f func(*os.Root) error) error {
	if name != "." && !goodName(name) {
		return badName(name)
	}
	root, err := os.OpenRoot(b.dir)
	if err == nil {
		err = errors.Join(f(root), root.Close())
	}
	var own *Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	return &Error{Class: Resource, Message: fmt.Sprintf("%s %q in %s: %v", what, name, b.dir, err)}
}

// goodName says whether a file may be called so.
func goodName(name string) bool {
	return name != "." && fs.ValidPath(name) && !strings.HasSuffix(name, ".part") && !strings.ContainsAny(name, "\\\x00")
}

func badName(name string) error {
	return &Error{Class: Permission, Message: fmt.Sprintf("%q is not the name of a file below the plugin's folder", name),
		Hint: `a plugin names files as in "exports/orders/1.csv": parts between single slashes, none of them "." or "..", no slash at either end, no backslash, and not with ".part" at the end`}
}

// Put writes a file whole: another one of that name is replaced at once.
func (b *Blob) Put(name string, data []byte) error {
	if len(data) > MaxBlob {
		return &Error{Class: Resource, Message: fmt.Sprintf("a file of %d bytes is larger than %d", len(data), MaxBlob)}
	}
	if !goodName(name) {
		return badName(name)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.within("write", name, func(root *os.Root) error {
		if err := b.admit(root, name, len(data)); err != nil {
			return err
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		half := name + ".part"
		if err := root.WriteFile(half, data, 0o644); err != nil {
			return err
		}
		return root.Rename(half, name)
	})
}

// Get reads a file, nil where there is none.
func (b *Blob) Get(name string) (data []byte, err error) {
	err = b.within("read", name, func(root *os.Root) error {
		f, err := root.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close()
		if data, err = io.ReadAll(io.LimitReader(f, MaxBlob+1)); err == nil && len(data) > MaxBlob {
			return &Error{Class: Resource, Message: fmt.Sprintf("the file %q is larger than %d bytes", name, MaxBlob)}
		}
		return err
	})
	return data, err
}

// Delete removes a file; it is no error where there is none.
func (b *Blob) Delete(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.within("delete", name, func(root *os.Root) error {
		if info, err := root.Lstat(name); err == nil && b.used != nil {
			b.used.Bytes, b.used.Files = b.used.Bytes-info.Size(), b.used.Files-1
		}
		if err := root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// List returns up to limit names that start with prefix, in order.
func (b *Blob) List(prefix string, limit int) ([]string, error) {
	names := []string{}
	err := b.within("list", ".", func(root *os.Root) error {
		return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && strings.HasPrefix(name, prefix) && !strings.HasSuffix(name, ".part") {
				names = append(names, name)
			}
			return err
		})
	})
	slices.Sort(names)
	return names[:min(limit, len(names))], err
}
