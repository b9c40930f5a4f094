package pgserver

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

var initdbArgs = []string{
	"--username=" + superuser, "--auth=trust", "--encoding=UTF8", "--locale=C",
	"--no-sync", "--no-instructions",
}

// identity changes whenever another program lies at the same place.
func (in Install) identity() (string, error) {
	info, err := os.Stat(filepath.Join(in.Bin, "postgres"))
	if err != nil {
		return "", fmt.Errorf("identify PostgreSQL: %w", err)
	}
	return fmt.Sprint(in.Bin, in.Version, info.Size(), info.ModTime().UnixNano(), initdbArgs), nil
}

// template returns the archive of a freshly initialised data folder, made by
// the first caller. The archive appears by a rename, whole or not at all, so
// concurrent processes at worst make it twice.
func (in Install) template(ctx context.Context, a account, work string) (string, error) {
	id, err := in.identity()
	if err != nil {
		return "", err
	}
	archive := filepath.Join(work, fmt.Sprintf("template-%d-%x", in.Major, sha256.Sum256([]byte(id)))[:32]+".tar")
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	scratch, err := os.MkdirTemp(work, fmt.Sprintf("server-%d-", os.Getpid()))
	if err != nil {
		return "", fmt.Errorf("make template of %s: %w", in.Version, err)
	}
	defer os.RemoveAll(scratch)
	if err := in.initdb(ctx, a, scratch, filepath.Join(scratch, "data")); err != nil {
		return "", err
	}
	half := filepath.Join(scratch, "template.tar")
	if err := pack(half, filepath.Join(scratch, "data")); err != nil {
		return "", fmt.Errorf("make template of %s: %w", in.Version, err)
	}
	if err := os.Rename(half, archive); err != nil {
		return "", fmt.Errorf("make template of %s: %w", in.Version, err)
	}
	return archive, nil
}

func (in Install) initdb(ctx context.Context, a account, dir, data string) error {
	if err := a.own(dir); err != nil {
		return fmt.Errorf("run initdb of %s: %w", in.Version, err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(in.Bin, "initdb"), append(initdbArgs, "-D", data)...)
	cmd.Dir = dir
	cmd.Env = environment()
	cmd.SysProcAttr = a.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb of %s: %w: %s", in.Version, err, out)
	}
	return nil
}

// pack writes the folder dir into a new archive.
func pack(archive, dir string) error {
	f, err := os.OpenFile(archive, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	buffered := bufio.NewWriterSize(f, 1<<20)
	w := tar.NewWriter(buffered)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	return errors.Join(w.Close(), buffered.Flush(), f.Close())
}

// unpack writes the files of an archive into the folder dir, which exists and
// is empty, and gives them to the account.
func unpack(archive, dir string, a account) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	r := tar.NewReader(bufio.NewReaderSize(f, 1<<20))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(path, 0o700)
		} else {
			err = unpackFile(path, r, h.FileInfo().Mode())
		}
		if err == nil {
			err = a.own(path)
		}
		if err != nil {
			return err
		}
	}
}

func unpackFile(path string, r io.Reader, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode.Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
