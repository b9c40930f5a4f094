package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrNotFound is returned where a record is asked for that does not exist.
var ErrNotFound = errors.New("not found in the state folder")

// FolderError says that a state folder cannot be this pipeline's: another
// pipeline owns it, or a newer Leat wrote it. Nothing in it was changed.
type FolderError struct {
	Dir string
	// Reason completes the sentence "state folder ...", with what to do.
	Reason string
	Err    error // what Pebble said, nil where Leat decided
}

func (e *FolderError) Error() string {
	s := fmt.Sprintf("state folder %s %s", e.Dir, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *FolderError) Unwrap() error { return e.Err }

// DefaultKVQuota bounds the bytes that one plugin may keep.
const DefaultKVQuota = 64 << 20

// Options of Open.
type Options struct {
	// Pipeline is the name of the pipeline that owns the folder. A reader may
	// leave it empty and takes the folder of any.
	Pipeline string
	// Log receives what Pebble reports; nil discards it.
	Log *slog.Logger
	// KVQuota bounds the bytes each plugin may keep; 0 is DefaultKVQuota.
	KVQuota int64
}

// Store is an open state folder.
type Store struct {
	Reader
	db    *pebble.DB
	lock  *folderLock // nil over a file system in memory
	quota int64

	holder   Holder // zero for a reader
	updating sync.Mutex
}

type meta struct {
	Format   int       `json:"format"`
	Pipeline string    `json:"pipeline"`
	Created  time.Time `json:"created"`
}

// Open opens the state folder dir for writing and makes it if it is not there.
// A folder that another process has open is refused with a *LockedError, a
// folder of another pipeline or of a newer format with an error that says so.
func Open(dir string, o Options) (*Store, error) {
	if err := checkName("pipeline", o.Pipeline); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "this host"
	}
	h := Holder{PID: os.Getpid(), Pipeline: o.Pipeline, Host: host, Started: time.Now().UTC().Truncate(time.Second)}
	if err := lock.announce(h); err != nil {
		return nil, errors.Join(err, lock.release(false))
	}
	s, err := openPebble(vfs.Default, dir, o, false)
	if err != nil {
		return nil, errors.Join(err, lock.release(true))
	}
	s.lock, s.holder = lock, h
	return s, nil
}

// OpenReadOnly opens the state folder of a stopped engine for reading. While
// an engine runs it returns a *LockedError whose Holder says where the engine
// takes commands; where nothing was ever written the error is fs.ErrNotExist.
func OpenReadOnly(dir string, o Options) (*Store, error) {
	if _, err := os.Stat(filepath.Join(dir, dbName)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("state folder %s: pipeline %q has not run yet: %w", dir, o.Pipeline, fs.ErrNotExist)
		}
		return nil, fmt.Errorf("open state folder: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	s, err := openPebble(vfs.Default, dir, o, true)
	if err != nil {
		return nil, errors.Join(err, lock.release(false))
	}
	s.lock = lock
	return s, nil
}

func openPebble(fsys vfs.FS, dir string, o Options, readOnly bool) (*Store, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	db, err := pebble.Open(fsys.PathJoin(dir, dbName), &pebble.Options{
		FS:       fsys,
		ReadOnly: readOnly,
		Logger:   pebbleLog{log},
		// Pinned: a newer Pebble must not upgrade a folder before
		// FormatVersion says that older releases cannot read it.
		FormatMajorVersion: pebble.FormatWALSyncChunks,
		MemTableSize:       4 << 20,
	})
	if err != nil {
		if strings.Contains(err.Error(), "unknown format major version") {
			return nil, &FolderError{dir, "was written by a newer Leat: upgrade this one", err}
		}
		return nil, fmt.Errorf("open state folder %s: %w", dir, err)
	}
	s := &Store{Reader: Reader{db}, db: db, quota: o.KVQuota}
	if s.quota == 0 {
		s.quota = DefaultKVQuota
	}
	if err := s.checkMeta(dir, o.Pipeline, readOnly); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// checkMeta refuses a folder that is not ours before anything is written.
func (s *Store) checkMeta(dir, pipeline string, readOnly bool) error {
	var m meta
	err := s.getJSON([]byte{spaceMeta}, &m)
	switch {
	case errors.Is(err, ErrNotFound) && readOnly:
		return fmt.Errorf("state folder %s: pipeline %q has not run yet: %w", dir, pipeline, fs.ErrNotExist)
	case errors.Is(err, ErrNotFound):
		return s.Update(func(tx *Tx) error {
			return tx.putJSON([]byte{spaceMeta}, meta{FormatVersion, pipeline, time.Now().UTC()})
		})
	case err != nil:
		return fmt.Errorf("open state folder %s: %w", dir, err)
	case m.Format > FormatVersion:
		return &FolderError{Dir: dir, Reason: fmt.Sprintf("was written by a newer Leat (format %d, this one knows up to %d): upgrade this one, or give the pipeline another state_dir", m.Format, FormatVersion)}
	case m.Pipeline != pipeline && pipeline != "":
		return &FolderError{Dir: dir, Reason: fmt.Sprintf("belongs to pipeline %q, not to %q: give each pipeline its own state_dir, or correct the name", m.Pipeline, pipeline)}
	}
	return nil
}

// SetSocket publishes where this process takes commands. Only the writer of a
// folder may.
func (s *Store) SetSocket(path string) error {
	h := s.holder
	if h.PID == 0 {
		return fmt.Errorf("publish socket %s: the state folder is open for reading only", path)
	}
	h.Socket = path
	if err := s.lock.announce(h); err != nil {
		return err
	}
	s.holder = h
	return nil
}

// Close closes the store and gives the folder free. Iterators must have ended.
func (s *Store) Close() error {
	err := s.db.Close()
	if s.lock != nil {
		err = errors.Join(err, s.lock.release(s.holder.PID != 0))
	}
	return err
}

// Tx is an Update in progress. It reads what it has written.
type Tx struct {
	Reader
	batch *pebble.Batch
	quota int64
}

// Update runs do and commits what it wrote as one atomic, synced batch. An
// error of do commits nothing and is returned as it is.
func (s *Store) Update(do func(*Tx) error) error {
	s.updating.Lock()
	defer s.updating.Unlock()
	b := s.db.NewIndexedBatch()
	defer b.Close()
	if err := do(&Tx{Reader: Reader{b}, batch: b, quota: s.quota}); err != nil {
		return err
	}
	if b.Empty() {
		return nil
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("commit state: %w", err)
	}
	return nil
}

func (tx *Tx) putJSON(key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	return tx.put(key, text)
}

func (tx *Tx) put(key, value []byte) error {
	if err := tx.batch.Set(key, value, nil); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

func (tx *Tx) delete(key []byte) error {
	if err := tx.batch.Delete(key, nil); err != nil {
		return fmt.Errorf("delete state: %w", err)
	}
	return nil
}

// deletePrefix deletes key by key: every read of a batch with many deleted
// ranges would go through all of them.
func (tx *Tx) deletePrefix(prefix []byte) error {
	var keys [][]byte
	for e, err := range tx.scan(prefix, ascending) {
		if err != nil {
			return err
		}
		keys = append(keys, bytes.Clone(e.key))
	}
	for _, key := range keys {
		if err := tx.delete(key); err != nil {
			return err
		}
	}
	return nil
}

// pebbleLog hands Pebble's reports to slog.
type pebbleLog struct{ log *slog.Logger }

func (l pebbleLog) Infof(format string, args ...any)  { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l pebbleLog) Errorf(format string, args ...any) { l.log.Error(fmt.Sprintf(format, args...)) }

// Fatalf ends the process, as Pebble demands: it calls it where the disk
// failed under a write, and recovery from a kill is what the engine is built
// for.
func (l pebbleLog) Fatalf(format string, args ...any) {
	l.log.Error(fmt.Sprintf(format, args...))
	fmt.Fprintf(os.Stderr, "state folder: "+format+"\n", args...)
	os.Exit(1)
}
