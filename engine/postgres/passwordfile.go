package postgres

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// unreadPasswordFile is why the user's password file is not looked into although it
// is there, and what mends it, as libpq has it; empty where it is, or there is none.
func unreadPasswordFile() (reason, fix string) {
	path := os.Getenv("PGPASSFILE")
	if home, err := os.UserHomeDir(); path == "" && err == nil {
		path = filepath.Join(home, ".pgpass")
	}
	switch info, err := os.Stat(path); {
	case err != nil, runtime.GOOS == "windows":
		return "", ""
	case !info.Mode().IsRegular():
		return fmt.Sprintf("The password file %s is not read: it is no regular file.", path), "unset PGPASSFILE, or name a file (mode 0600)"
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Sprintf("The password file %s is not read: others than its owner have access to it (mode %04o).", path, info.Mode().Perm()), "chmod 0600 " + path
	}
	return "", ""
}
