package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// resetTool sets what a stopped server counts with.
const resetTool = "pg_resetwal"

// Resettable returns the version of an installed PostgreSQL whose transactions
// ResetTransactions can number: not every package has the program for it.
func Resettable() (string, error) {
	for _, version := range []string{"15", "18", "17", "16", "14"} {
		in, err := Find(version)
		if err != nil {
			continue // the next version, or the error below
		}
		if in.beside(resetTool) != "" {
			return version, nil
		}
	}
	return "", errors.New("no installed PostgreSQL has " + resetTool + ": install the server package of PostgreSQL 15")
}

// beside returns the path of a program that was installed with the server,
// empty if it was not.
func (in Install) beside(program string) string {
	server, err := filepath.EvalSymlinks(filepath.Join(in.Bin, "postgres"))
	if err != nil {
		server = filepath.Join(in.Bin, "postgres")
	}
	for _, dir := range []string{in.Bin, filepath.Dir(server)} {
		path := filepath.Join(dir, program)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// A file of the commit log has transactionsPerFile transactions, four a byte.
const (
	commitLogFile       = 32 * 8192
	transactionsPerFile = commitLogFile * 4
)

// ResetTransactions stops the server, lets its transactions go on at the
// number epoch<<32 + xid and starts it again. Take numbers that are multiples
// of 2^20: the page of the commit log that they need is then a new one.
func (s *Server) ResetTransactions(ctx context.Context, epoch, xid uint32) error {
	if err := s.shutDown(ctx); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, s.install.beside(resetTool), "-f", "-e", fmt.Sprint(epoch), "-x", fmt.Sprint(xid), s.data)
	cmd.SysProcAttr = s.account.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("reset transactions: %w: %s", err, out)
	}
	file := filepath.Join(s.data, "pg_xact", fmt.Sprintf("%04X", xid/transactionsPerFile))
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(file, make([]byte, commitLogFile), 0o600); err != nil {
			return fmt.Errorf("make page of the commit log: %w", err)
		}
		if err := s.account.own(file); err != nil {
			return err
		}
	}
	return s.StartAgain(ctx)
}
