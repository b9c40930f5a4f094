package postgres

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/agent"
)

const sshPassphrase = "key-pass-word"

// keyPairs is a private key of each kind.
func keyPairs(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"RSA": rsaKey, "ECDSA": ecKey, "Ed25519": edKey}
}

// behind is the configuration of a fixture's server as seen through a tunnel.
func behind(f *fixture, ssh SSHConfig) *Config {
	cfg := *f.cfg
	cfg.TLS.Mode = TLSDisable // an attempt with TLS would be a connection of its own
	cfg.Tunnel = NewTunnel(ssh)
	return &cfg
}

func TestTunnelKeys(t *testing.T) {
	f := newFixture(t)
	for name, key := range keyPairs(t) {
		s := newSSHServer(t, signerOf(t, key).PublicKey())
		forms := map[string]string{"plain": opensshKey(t, key, ""), "PKCS#8": plainKey(t, key)}
		if name == "Ed25519" { // the derivation of a key takes long
			forms["encrypted"] = opensshKey(t, key, sshPassphrase)
		}
		for form, text := range forms {
			cfg := s.config(t, text)
			cfg.KeyPassphrase = sshPassphrase
			if err := connectError(t, *behind(f, cfg), f.database); err != nil {
				t.Errorf("%s %s: %v", name, form, err)
			}
			if form == "encrypted" {
				cfg.KeyPassphrase = "wr0ng-pass"
				wantError(t, connectError(t, *behind(f, cfg), f.database), CodeSettings, Stop, "", "wr0ng-pass")
				cfg.KeyPassphrase = ""
				wantError(t, connectError(t, *behind(f, cfg), f.database), CodeSettings, Stop, "key_passphrase")
			}
		}
	}
}

func TestTunnelAgent(t *testing.T) {
	f := newFixture(t)
	key := keyPairs(t)["Ed25519"].(ed25519.PrivateKey)
	s := newSSHServer(t, signerOf(t, key).PublicKey())
	socket := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if err := agent.ServeAgent(ring, conn); err != nil && !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			conn.Close()
		}
	}()
	defer func() { listener.Close(); <-served }()
	cfg := s.config(t, "")
	t.Setenv("SSH_AUTH_SOCK", "")
	wantError(t, connectError(t, *behind(f, cfg), f.database), CodeSettings, Stop, "ssh-add")
	t.Setenv("SSH_AUTH_SOCK", socket)
	wantError(t, connectError(t, *behind(f, cfg), f.database), CodeSettings, Stop, "authorized_keys")
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	if err := connectError(t, *behind(f, cfg), f.database); err != nil {
		t.Error(err)
	}
	t.Setenv("SSH_AUTH_SOCK", socket+"-gone")
	wantError(t, connectError(t, *behind(f, cfg), f.database), CodeSettings, Stop, "ssh-add")
}

// TestTunnelHostKeys: a host is let through only if its key is known, and an
// unknown key is told from a changed one.
func TestTunnelHostKeys(t *testing.T) {
	f := newFixture(t)
	keys := keyPairs(t)
	s := newSSHServer(t, signerOf(t, keys["RSA"]).PublicKey())
	cfg := s.config(t, plainKey(t, keys["RSA"]))
	check := func(want string, hint string) {
		t.Helper()
		err := connectError(t, *behind(f, cfg), f.database)
		wantError(t, err, CodeSettings, Stop, hint, f.cfg.Password)
		if err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if logins, _ := s.counts(); logins != 0 {
			t.Error("the key was offered to an unproved host")
		}
	}
	if err := os.WriteFile(cfg.KnownHosts, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check("not known: the server shows ssh-ed25519 SHA256:", "ssh-keyscan -p")
	s.know(t, cfg.KnownHosts, signerOf(t, keys["Ed25519"]).PublicKey())
	check("has changed: the server shows ssh-ed25519 SHA256:", "ssh-keygen -R")
	check(cfg.KnownHosts+":1", "ssh-keygen -R")
	s.know(t, cfg.KnownHosts, signerOf(t, keys["ECDSA"]).PublicKey()) // a kind that the server no longer has
	check("has changed", "ssh-keygen -R")
	if err := os.WriteFile(cfg.KnownHosts, []byte("127.0.0.1 ssh-rsa nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("read known hosts", "ssh-keyscan")
	cfg.KnownHosts = filepath.Join(t.TempDir(), "missing")
	check("read known hosts", "ssh-keyscan")
}

func TestTunnelFailures(t *testing.T) {
	f := newFixture(t)
	key := keyPairs(t)["Ed25519"]
	s := newSSHServer(t, signerOf(t, key).PublicKey())
	good := s.config(t, plainKey(t, key))

	stranger := good
	stranger.KeyFile = plainKey(t, keyPairs(t)["ECDSA"])
	wantError(t, connectError(t, *behind(f, stranger), f.database), CodeSettings, Stop, "authorized_keys")
	missing := good
	missing.KeyFile = "/nonexistent/key"
	wantError(t, connectError(t, *behind(f, missing), f.database), CodeSettings, Stop, "")
	nobody := good
	nobody.User = ""
	wantError(t, connectError(t, *behind(f, nobody), f.database), CodeSettings, Stop, "[source.ssh] user")
	nowhere := good
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nowhere.Port = uint16(closed.Addr().(*net.TCPAddr).Port)
	closed.Close()
	wantError(t, connectError(t, *behind(f, nowhere), f.database), CodeUnreachable, Retry, "ssh -p")
	r := Check(t.Context(), behind(f, nowhere), Requirements{})
	wantItem(t, r, "connection settings", OK, "yes", "")
	wantItem(t, r, "SSH tunnel", Fail, "refused", "ssh -p")
	wantItem(t, r, "server reachable", Unknown, "", "")

	far := behind(f, good)
	far.Port = nowhere.Port
	wantError(t, connectError(t, *far, f.database), CodeUnreachable, Retry, "pg_isready", f.cfg.Password)
	r = Check(t.Context(), far, Requirements{})
	wantItem(t, r, "SSH tunnel", OK, "yes", "")
	wantItem(t, r, "server reachable", Fail, "refused", "pg_isready")
	s.mu.Lock()
	s.forbids = true
	s.mu.Unlock()
	wantError(t, connectError(t, *behind(f, good), f.database), CodeSettings, Stop, "AllowTcpForwarding", f.cfg.Password)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = behind(f, good).Connect(ctx, f.database)
	wantError(t, err, 0, Canceled, "")
}

// TestTunnelCarriesEverything opens sessions, a snapshot, a COPY and a stream
// through one SSH connection, which ends with the last of them.
func TestTunnelCarriesEverything(t *testing.T) {
	f := newFixture(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`, `INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n`)
	key := keyPairs(t)["Ed25519"]
	s := newSSHServer(t, signerOf(t, key).PublicKey())
	cfg := behind(f, s.config(t, plainKey(t, key)))
	r := Check(t.Context(), cfg, Requirements{Selection: Selection{Include: []string{"*"}}, Publication: "p", Slot: "s"})
	if !r.OK() {
		t.Errorf("%+v", r)
	}
	wantItem(t, r, "SSH tunnel", OK, "host key is known", "")
	wantItem(t, r, "replication connection", OK, "accepted", "")
	if logins, _ := s.counts(); logins != 1 {
		t.Errorf("%d SSH connections for one check", logins)
	}

	direct := f.source
	source, err := Open(t.Context(), cfg, f.database)
	if err != nil {
		t.Fatal(err)
	}
	f.source, f.cfg = source, cfg
	defer func() { f.source = direct }() // closed with the fixture
	snapshot := f.takeSnapshot(t)
	if rows, _ := f.readAll(t, snapshot, f.table(t, "t")); len(rows) != 20000 {
		t.Errorf("%d rows were loaded", len(rows))
	}
	if err := snapshot.Close(t.Context()); err != nil {
		t.Error(err)
	}
	stream := f.tap(t, f.options(f.publish(t)))
	f.exec(t, `INSERT INTO t VALUES (0, 'y')`)
	expect(t, describe(t, stream.next(t)), "t I 0 y")
	if err := stream.stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := source.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if cfg.Tunnel.link != nil {
		t.Error("the SSH connection outlived what it carried")
	}
}

// TestTunnelReconnects: what went through a lost SSH connection fails, and
// what comes after it is carried by a new one.
func TestTunnelReconnects(t *testing.T) {
	f := newFixture(t)
	key := keyPairs(t)["Ed25519"]
	s := newSSHServer(t, signerOf(t, key).PublicKey())
	cfg := behind(f, s.config(t, plainKey(t, key)))
	cfg.Tunnel.keepAlive = 50 * time.Millisecond
	source, err := Open(t.Context(), cfg, f.database)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close(context.Background())
	for _, lose := range []func(){
		s.cut,
		func() { // a server that is gone without a word
			s.mu.Lock()
			s.mute = true
			s.mu.Unlock()
			<-cfg.Tunnel.link.ended
			s.mu.Lock()
			s.mute = false
			s.mu.Unlock()
		},
	} {
		lose()
		_, err := source.System(t.Context())
		wantError(t, err, 0, Retry, "")
		if _, err := source.System(t.Context()); err != nil {
			t.Errorf("after the loss: %v", err)
		}
	}
	// A session's deadline holds although SSH channels know none.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	conn, err := cfg.Connect(t.Context(), f.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(ctx, "SELECT pg_sleep(60)"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a query beyond its time ended with %v", err)
	}
}
