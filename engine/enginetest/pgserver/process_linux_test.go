package pgserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const ownerVariable = "LEAT_PGSERVER_TEST_OWNER"

// TestServerEndsWithAKilledOwner runs itself as the process that is killed.
func TestServerEndsWithAKilledOwner(t *testing.T) {
	if os.Getenv(ownerVariable) != "" {
		s, err := Start(t.Context(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("server:", s.DSN("postgres"))
		select {} // until it is killed
	}
	owner := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	owner.Env = append(os.Environ(), ownerVariable+"=1")
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	var dsn string
	for lines := bufio.NewScanner(out); dsn == "" && lines.Scan(); {
		_, dsn, _ = strings.Cut(lines.Text(), "server: ")
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatalf("connect to the owner's server: %v", err)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	owner.Wait() // it was killed
	socket := conn.PgConn().Conn()
	socket.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.Copy(io.Discard, socket); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server outlives its owner")
	}
}
