package postgres

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshServer is an SSH server that forwards connections and does nothing else.
type sshServer struct {
	cfg      *ssh.ServerConfig
	listener net.Listener
	host     ssh.Signer
	work     sync.WaitGroup

	mu        sync.Mutex
	links     []net.Conn
	logins    int
	forwarded int
	forbids   bool
	mute      bool // answers no global request, as a dead peer does
}

// newSSHServer lets in whoever has one of the keys.
func newSSHServer(t *testing.T, keys ...ssh.PublicKey) *sshServer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &sshServer{host: signerOf(t, key)}
	s.cfg = &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
		for _, k := range keys {
			if string(k.Marshal()) == string(offered.Marshal()) {
				return nil, nil
			}
		}
		return nil, fmt.Errorf("unknown key")
	}}
	s.cfg.AddHostKey(s.host)
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.work.Go(s.serve)
	t.Cleanup(func() {
		s.listener.Close()
		s.cut()
		s.work.Wait()
	})
	return s
}

func signerOf(t *testing.T, key crypto.Signer) ssh.Signer {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func (s *sshServer) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.links = append(s.links, conn)
		s.mu.Unlock()
		s.work.Go(func() { s.link(conn) })
	}
}

func (s *sshServer) link(conn net.Conn) {
	defer conn.Close()
	c, channels, requests, err := ssh.NewServerConn(conn, s.cfg)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.logins++
	s.mu.Unlock()
	s.work.Go(func() {
		for r := range requests {
			s.mu.Lock()
			mute := s.mute
			s.mu.Unlock()
			if r.WantReply && !mute {
				r.Reply(false, nil)
			}
		}
	})
	for offered := range channels {
		s.work.Go(func() { s.forward(offered) })
	}
	c.Close()
}

func (s *sshServer) forward(offered ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}
	s.mu.Lock()
	s.forwarded++
	forbids := s.forbids
	s.mu.Unlock()
	if err := ssh.Unmarshal(offered.ExtraData(), &to); err != nil || offered.ChannelType() != "direct-tcpip" || forbids {
		offered.Reject(ssh.Prohibited, "not here")
		return
	}
	far, err := net.Dial("tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		offered.Reject(ssh.ConnectionFailed, "refused")
		return
	}
	near, requests, err := offered.Accept()
	if err != nil {
		far.Close()
		return
	}
	s.work.Go(func() { ssh.DiscardRequests(requests) })
	var both sync.WaitGroup
	both.Go(func() { io.Copy(far, near); far.Close() })
	both.Go(func() { io.Copy(near, far); near.Close() })
	both.Wait()
}

// cut ends every SSH connection at once.
func (s *sshServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.links {
		c.Close()
	}
	s.links = nil
}

func (s *sshServer) counts() (logins, forwarded int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins, s.forwarded
}

// config is how to reach the server, with its host key in a file of the test.
func (s *sshServer) config(t *testing.T, key string) SSHConfig {
	t.Helper()
	file := filepath.Join(t.TempDir(), "known_hosts")
	s.know(t, file, s.host.PublicKey())
	address := s.listener.Addr().(*net.TCPAddr)
	return SSHConfig{Host: "127.0.0.1", Port: uint16(address.Port), User: "me", KeyFile: key, KnownHosts: file}
}

func (s *sshServer) know(t *testing.T, file string, key ssh.PublicKey) {
	t.Helper()
	line := knownhosts.Line([]string{s.listener.Addr().String()}, key)
	if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// opensshKey is a private key as ssh-keygen writes it.
func opensshKey(t *testing.T, key crypto.Signer, passphrase string) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}
