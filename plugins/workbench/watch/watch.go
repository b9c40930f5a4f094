// Package watch waits for changes of a plugin's sources, or of one file.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// made are folders that a build writes.
var made = []string{"target", "node_modules"}

// quiet is how long nothing may change before a change counts as saved: an
// editor writes a file in several steps.
const quiet = 100 * time.Millisecond

// Folder is a folder that is watched with everything below it, except what
// builds make. It belongs to one goroutine.
type Folder struct {
	dir     string
	watcher *fsnotify.Watcher
	// modules says that compiled modules count, too.
	modules bool
	// only is the one name that counts, empty for all.
	only string
}

// File watches one file. Its folder is watched for it, since an editor may put
// another file into its place.
func File(path string) (*Folder, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	f := &Folder{dir: filepath.Dir(path), watcher: w, only: filepath.Base(path)}
	if err := w.Add(f.dir); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", path, err), w.Close())
	}
	return f, nil
}

// New watches dir. With modules a new .wasm file is a change as well.
func New(dir string, modules bool) (*Folder, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	f := &Folder{dir: dir, watcher: w, modules: modules}
	if err := f.add(dir); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return f, nil
}

// Close ends the watch.
func (f *Folder) Close() error { return f.watcher.Close() }

// add watches a folder and those below it.
func (f *Folder) add(dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // it was there a moment ago
			return nil
		case err != nil || !d.IsDir():
			return err
		case path != f.dir && (slices.Contains(made, d.Name()) || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		}
		return f.watcher.Add(path)
	})
	if err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	return nil
}

// Next waits until something has changed and then been quiet. Its error is
// that ctx has ended or that the watch is broken.
func (f *Folder) Next(ctx context.Context) error {
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-settled:
			return nil
		case err := <-f.watcher.Errors:
			return fmt.Errorf("watch %s: %w", f.dir, err)
		case e, ok := <-f.watcher.Events:
			if !ok {
				return fmt.Errorf("watch %s: closed", f.dir)
			}
			if !f.counts(e) {
				continue
			}
			if e.Has(fsnotify.Create) && f.only == "" {
				if err := f.add(e.Name); err != nil {
					return err
				}
			}
			settled = time.After(quiet)
		}
	}
}

// counts says whether an event is a change of the plugin.
func (f *Folder) counts(e fsnotify.Event) bool {
	name := filepath.Base(e.Name)
	switch {
	case f.only != "":
		return name == f.only && e.Op != fsnotify.Chmod
	case e.Op == fsnotify.Chmod, strings.HasPrefix(name, "."), strings.HasSuffix(name, "~"), strings.HasSuffix(name, ".new"), slices.Contains(made, name), name == "Cargo.lock":
		return false
	case strings.HasSuffix(name, ".wasm"):
		return f.modules
	}
	return true
}
