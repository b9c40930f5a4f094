package pgserver

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// account is the operating-system user that runs the servers.
type account struct {
	name     string
	uid, gid uint32
	switched bool // it is not the user of this process
}

// serverAccount chooses the user: this process's own, or for root the user
// postgres or nobody.
func serverAccount() (account, error) {
	if os.Getuid() != 0 {
		return account{uid: uint32(os.Getuid()), gid: uint32(os.Getgid())}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue // the next name, or the error below
		}
		uid, errU := strconv.ParseUint(u.Uid, 10, 32)
		gid, errG := strconv.ParseUint(u.Gid, 10, 32)
		if errU == nil && errG == nil && uid != 0 {
			return account{name: name, uid: uint32(uid), gid: uint32(gid), switched: true}, nil
		}
	}
	return account{}, errors.New("start PostgreSQL as root: it refuses, and there is neither a user postgres nor nobody to run it: run as another user")
}

// own gives a folder or file to the account.
func (a account) own(path string) error {
	if !a.switched {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// attributes are the process attributes of a program run as the account.
func (a account) attributes() *syscall.SysProcAttr {
	attr := childAttributes()
	if a.switched {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	return attr
}

// barrier returns the first folder on the way to path that the account cannot
// enter, empty if it reaches path.
func (a account) barrier(path string) string {
	if !a.switched {
		return ""
	}
	folder := "/"
	for _, part := range strings.Split(strings.Trim(filepath.Clean(path), "/"), "/") {
		info, err := os.Stat(folder)
		if err != nil {
			return folder
		}
		if !a.enters(info) {
			return folder
		}
		folder = filepath.Join(folder, part)
	}
	return ""
}

func (a account) enters(info os.FileInfo) bool {
	if !info.IsDir() {
		return false
	}
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case st.Uid == a.uid:
		return info.Mode()&0o100 != 0
	case st.Gid == a.gid:
		return info.Mode()&0o010 != 0
	}
	return info.Mode()&0o001 != 0
}

// workFolder is where this user's servers and templates live. It is refused
// when somebody else owns it: the folder above it may be writable by all.
func workFolder(a account) (string, error) {
	parent := os.TempDir()
	if a.barrier(filepath.Join(parent, "x")) != "" {
		parent = "/tmp"
	}
	dir := filepath.Join(parent, fmt.Sprintf("leat-pgserver-%d", os.Getuid()))
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("make folder for PostgreSQL servers: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("make folder for PostgreSQL servers: %w", err)
	}
	if st := info.Sys().(*syscall.Stat_t); !info.IsDir() || int(st.Uid) != os.Getuid() {
		return "", fmt.Errorf("make folder for PostgreSQL servers: %s belongs to another user: remove it or set TMPDIR", dir)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", fmt.Errorf("make folder for PostgreSQL servers: %w", err)
	}
	return dir, nil
}

// sweep removes what servers of processes that no longer exist left behind.
func sweep(work string) {
	left, _ := filepath.Glob(filepath.Join(work, "server-*")) // the pattern is well-formed unless TMPDIR is odd; then nothing is swept
	for _, dir := range left {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "server-%d-", &pid); err != nil || pid <= 0 {
			continue
		}
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			os.RemoveAll(dir)
		}
	}
}

// readable returns the installation itself, or a copy of it where the account
// cannot reach the folder in which it lies, such as a checkout below /root.
func (a account) readable(in Install, work string) (Install, error) {
	if a.barrier(filepath.Join(in.Bin, "postgres")) == "" {
		return in, nil
	}
	id, err := in.identity()
	if err != nil {
		return in, err
	}
	copied := filepath.Join(work, fmt.Sprintf("install-%x", sha256.Sum256([]byte(id)))[:30])
	if _, err := os.Stat(copied); err != nil {
		half, err := os.MkdirTemp(work, fmt.Sprintf("server-%d-", os.Getpid()))
		if err != nil {
			return in, fmt.Errorf("copy PostgreSQL from %s: %w", in.Bin, err)
		}
		defer os.RemoveAll(half)
		if err := os.CopyFS(half, os.DirFS(filepath.Dir(in.Bin))); err != nil {
			return in, fmt.Errorf("copy PostgreSQL from %s: %w", in.Bin, err)
		}
		if err := os.Chmod(half, 0o755); err != nil {
			return in, fmt.Errorf("copy PostgreSQL from %s: %w", in.Bin, err)
		}
		if err := os.Rename(half, copied); err != nil && !errors.Is(err, os.ErrExist) {
			return in, fmt.Errorf("copy PostgreSQL from %s: %w", in.Bin, err)
		}
	}
	in.Bin = filepath.Join(copied, filepath.Base(in.Bin))
	return in, nil
}
