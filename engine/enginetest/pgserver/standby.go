package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// Standby returns a physical standby of primary for this test alone, whose
// slot at the primary is called standby. The primary, a server that the test
// owns, is stopped for the copy and started again. It ends with the test.
func Standby(t testing.TB, primary *Server, settings map[string]string) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*startLimit)
	defer cancel()
	dir, err := primary.copyForStandby(ctx)
	if err != nil {
		t.Fatalf("copy primary: %v", err)
	}
	all := map[string]string{
		"primary_conninfo":  fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=%s", primary.Host(), primary.Port(), superuser, primary.password, superuser),
		"primary_slot_name": "standby", "hot_standby_feedback": "on", "wal_receiver_status_interval": "1",
	}
	maps.Copy(all, settings)
	return Own(t, Options{Version: fmt.Sprint(primary.Major()), Dir: dir, Password: primary.password, Settings: all})
}

// copyForStandby copies the data folder beside that of the server.
func (s *Server) copyForStandby(ctx context.Context) (string, error) {
	if err := s.Exec(ctx, superuser, "SELECT pg_create_physical_replication_slot('standby', true)"); err != nil {
		return "", err
	}
	if err := s.shutDown(ctx); err != nil {
		return "", err
	}
	dir := filepath.Join(s.private, "standby")
	err := s.copyData(s.data, dir)
	if err == nil {
		err = os.RemoveAll(filepath.Join(dir, "pg_replslot"))
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "pg_replslot"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "standby.signal"), nil, 0o600)
	}
	if err == nil {
		err = s.own(dir)
	}
	return dir, errors.Join(err, s.StartAgain(ctx))
}

// Copied keeps the disk of a server that the test owns as it is now, with all
// slots. restore puts it back; the server crashes for each of the two.
func Copied(t testing.TB, s *Server) (restore func()) {
	t.Helper()
	kept := filepath.Join(s.private, "copy")
	replace := func(from, to string) {
		t.Helper()
		err := s.Kill()
		if err == nil {
			err = os.RemoveAll(to)
		}
		if err == nil {
			err = s.copyData(from, to)
		}
		if err == nil {
			err = s.StartAgain(t.Context())
		}
		if err != nil {
			t.Fatalf("copy the disk of a server: %v", err)
		}
	}
	replace(s.data, kept)
	return func() { t.Helper(); replace(kept, s.data) }
}

// copyData copies a data folder.
func (s *Server) copyData(from, to string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return s.own(to)
}

// own gives a data folder to the account that runs the server.
func (s *Server) own(dir string) error {
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, s.account.own(path))
	})
}
