package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Holder is the process that has a state folder open.
type Holder struct {
	PID      int       `json:"pid"`
	Pipeline string    `json:"pipeline"`
	Host     string    `json:"host"`
	Started  time.Time `json:"started"`
	// Socket is where the process takes commands, empty until it listens.
	Socket string `json:"socket,omitempty"`
}

// LockedError says that another process has the state folder open. Holder is
// zero where that process has not said who it is, as a reader or a process
// that is just starting.
type LockedError struct {
	Dir    string
	Holder Holder
}

func (e *LockedError) Error() string {
	h := e.Holder
	if h.PID == 0 {
		return fmt.Sprintf("state folder %s is in use by another leat command: try again when it has ended", e.Dir)
	}
	s := fmt.Sprintf("state folder %s is in use by pipeline %q: process %d on %s, running since %s",
		e.Dir, h.Pipeline, h.PID, h.Host, h.Started.Format(time.RFC3339))
	return s + fmt.Sprintf(": one process at a time may run a pipeline; look at it with leat status, or stop it first with kill %d", h.PID)
}

const (
	lockName   = "lock"
	holderName = "holder.json"
	dbName     = "db"
	// readerPatience is how long an open waits for a holder without a name:
	// readers have none and are done within milliseconds.
	readerPatience = time.Second
)

// folderLock is the flock on a state folder. The operating system drops it
// when the process ends, however it ends, so a lock is never stale.
type folderLock struct {
	dir  string
	file *os.File
}

func lockFolder(dir string) (*folderLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock of state folder: %w", err)
	}
	deadline := time.Now().Add(readerPatience)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return &folderLock{dir: dir, file: f}, nil
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock state folder %s: %w", dir, err)
		}
		if h := readHolder(dir); h.PID != 0 || time.Now().After(deadline) {
			f.Close()
			return nil, &LockedError{Dir: dir, Holder: h}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// readHolder returns the zero Holder where the file names nobody who lives: a
// killed process leaves its file behind.
func readHolder(dir string) Holder {
	text, err := os.ReadFile(filepath.Join(dir, holderName))
	if err != nil {
		return Holder{}
	}
	var h Holder
	if json.Unmarshal(text, &h) != nil || h.PID <= 0 {
		return Holder{}
	}
	if host, err := os.Hostname(); err == nil && host == h.Host && errors.Is(unix.Kill(h.PID, 0), unix.ESRCH) {
		return Holder{}
	}
	return h
}

// announce writes the holder file whole or not at all.
func (l *folderLock) announce(h Holder) error {
	text, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(l.dir, holderName)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write holder of state folder: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write holder of state folder: %w", err)
	}
	return nil
}

// release gives the folder free. forget removes the holder file, which a
// reader has not written.
func (l *folderLock) release(forget bool) error {
	var err error
	if forget {
		err = os.Remove(filepath.Join(l.dir, holderName))
	}
	return errors.Join(err, l.file.Close())
}
