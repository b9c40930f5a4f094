package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// packages are the packages of Debian by the extension that they bring; %d is
// the major version of the server.
var packages = []struct{ extension, name string }{
	{"vector", "postgresql-%d-pgvector"},
	{"postgis", "postgresql-%d-postgis-3"},
}

// extensionPatience bounds the installation of all: what does not come in time
// is left out.
const extensionPatience = 3 * time.Minute

// installExtensions brings what the tests of extension types use where it can,
// and says what it could not. It fails only where there is no server.
func installExtensions(ctx context.Context, out io.Writer) error {
	in, err := pgserver.Find(os.Getenv("LEAT_TEST_POSTGRES"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, extensionPatience)
	defer cancel()
	updated := false
	for _, p := range packages {
		if hasExtension(in, p.extension) {
			continue
		}
		err := fmt.Errorf("the server in %s did not come from the system's packages", in.Bin)
		if strings.HasPrefix(in.Bin, "/usr/lib/postgresql/") {
			var steps [][]string
			if !updated {
				steps, updated = append(steps, []string{"update", "-q"}), true
			}
			name := fmt.Sprintf(p.name, in.Major)
			fmt.Fprintf(out, "installing the package %s\n", name)
			err = aptGet(ctx, append(steps, []string{"install", "-q", "-y", "--no-install-recommends", name})...)
		}
		if err != nil {
			fmt.Fprintf(out, "extension %s is not installed, its types are tried on recorded values only: %v\n", p.extension, err)
		}
	}
	return nil
}

// hasExtension says whether a server of the installation could make it.
func hasExtension(in pgserver.Install, extension string) bool {
	name := extension + ".control"
	for _, dir := range []string{
		filepath.Join("/usr/share/postgresql", fmt.Sprint(in.Major), "extension"),
		filepath.Join(filepath.Dir(in.Bin), "share", "postgresql", "extension"),
		filepath.Join(filepath.Dir(in.Bin), "share", "extension"),
	} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}
