// Command setup installs the PostgreSQL servers that the tests and the demo
// need and that are not there yet:
//
//	go run ./engine/enginetest/pgserver/setup            # any version
//	go run ./engine/enginetest/pgserver/setup 14 16 18   # these versions
//	go run ./engine/enginetest/pgserver/setup extensions # pgvector and PostGIS
//
// Any version comes from the system's packages where that is possible without
// a question, otherwise from npm like a version asked for by number. Extensions
// come from the system's packages for a server that came from there; where that
// fails, setup says what is not tried on a live server and goes on. Run it
// in the project's top folder: what npm brings goes to build/postgres.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "setup:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, versions []string, out io.Writer) error {
	if _, err := os.Stat("go.mod"); err != nil {
		return errors.New("run setup in the project's top folder")
	}
	if len(versions) == 1 && versions[0] == "extensions" {
		return installExtensions(ctx, out)
	}
	if len(versions) == 0 {
		versions = []string{""}
	}
	for _, version := range versions {
		if err := install(ctx, version, out); err != nil {
			return err
		}
	}
	return nil
}

// install brings a version unless it is there, and says what it found.
func install(ctx context.Context, version string, out io.Writer) error {
	in, err := pgserver.Find(version)
	if _, missing := errors.AsType[*pgserver.MissingError](err); missing {
		if version == "" {
			err = installAny(ctx, out)
		} else {
			err = installNPM(ctx, version, out)
		}
		if err == nil {
			in, err = pgserver.Find(version)
		}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %s\n", in.Version, in.Bin)
	return nil
}

// installAny tries the system's packages first.
func installAny(ctx context.Context, out io.Writer) error {
	aptErr := installAPT(ctx, out)
	if aptErr == nil {
		return nil
	}
	const fallback = "17"
	if err := installNPM(ctx, fallback, out); err != nil {
		return fmt.Errorf("install PostgreSQL: by apt-get: %w; by npm: %w; install PostgreSQL %d or later yourself and put its bin folder into PATH", aptErr, err, pgserver.Oldest)
	}
	return nil
}

// installAPT uses apt-get where it exists and asks nothing.
func installAPT(ctx context.Context, out io.Writer) error {
	fmt.Fprintln(out, "installing the package postgresql, about a minute")
	return aptGet(ctx, []string{"update", "-q"}, []string{"install", "-q", "-y", "--no-install-recommends", "postgresql"})
}

// aptGet runs apt-get as root, step by step.
func aptGet(ctx context.Context, steps ...[]string) error {
	command := []string{"apt-get"}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return err
	}
	if os.Getuid() != 0 {
		if err := exec.CommandContext(ctx, "sudo", "-n", "true").Run(); err != nil {
			return fmt.Errorf("become root without a password: %w", err)
		}
		command = []string{"sudo", "-n", "apt-get"}
	}
	for _, step := range steps {
		args := slices.Concat(command[1:], step)
		cmd := exec.CommandContext(ctx, command[0], args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("run %v: %w: %s", append(command, step...), err, lastBytes(output, 600))
		}
	}
	return nil
}

func lastBytes(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
