package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	sshhosts "golang.org/x/crypto/ssh/knownhosts"
)

// sshLogin is how the two sides prove themselves to each other.
type sshLogin struct {
	client *ssh.ClientConfig
	agent  net.Conn // nil where a key file is used
}

func (l *sshLogin) close() {
	if l.agent != nil {
		l.agent.Close()
	}
}

// login reads keys and known hosts anew for each connection, so that what was
// mended counts.
func (c *SSHConfig) login(ctx context.Context) (*sshLogin, error) {
	for _, s := range []struct{ key, value string }{{"host", c.Host}, {"user", c.User}} {
		if s.value == "" {
			return nil, settingsError(fmt.Errorf("%s of the SSH tunnel is empty", s.key), "It is not set.", fmt.Sprintf("[source.ssh] %s = \"...\"", s.key))
		}
	}
	hosts, err := c.knownHosts()
	if err != nil {
		return nil, err
	}
	out := &sshLogin{client: &ssh.ClientConfig{User: c.User, HostKeyCallback: c.prove(hosts), HostKeyAlgorithms: hosts.HostKeyAlgorithms(c.address())}}
	if c.KeyFile == "" {
		return out, c.useAgent(ctx, out)
	}
	signer, err := c.signer()
	if err != nil {
		return nil, err
	}
	out.client.Auth = []ssh.AuthMethod{ssh.PublicKeys(signer)}
	return out, nil
}

func (c *SSHConfig) useAgent(ctx context.Context, l *sshLogin) error {
	const fix = `[source.ssh] key_file = "~/.ssh/id_ed25519", or: eval "$(ssh-agent)" && ssh-add`
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return settingsError(errors.New("neither a key nor an agent"), "key_file is not set, and SSH_AUTH_SOCK names no SSH agent.", fix)
	}
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return settingsError(fmt.Errorf("connect to the SSH agent: %w", err), "SSH_AUTH_SOCK names an agent that has ended.", fix)
	}
	l.agent = conn
	l.client.Auth = []ssh.AuthMethod{ssh.PublicKeysCallback(agent.NewClient(conn).Signers)}
	return nil
}

func (c *SSHConfig) signer() (ssh.Signer, error) {
	text, err := readPEM(c.KeyFile)
	if err != nil {
		return nil, settingsError(fmt.Errorf("read SSH key: %w", err), "The file is missing or not readable.", "")
	}
	const cause = "The file is not a private key that can be read, or key_passphrase is missing or wrong."
	if text, err = decryptKey(text, c.KeyPassphrase); err != nil {
		return nil, settingsError(fmt.Errorf("decrypt SSH key: %w", err), "key_passphrase is missing or wrong.", `[source.ssh] key_passphrase = { env = "SSH_KEY_PASSPHRASE" }`)
	}
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		if c.KeyPassphrase == "" {
			return nil, settingsError(errors.New("the SSH key is encrypted"), "key_passphrase is missing.", `[source.ssh] key_passphrase = { env = "SSH_KEY_PASSPHRASE" }`)
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(text, []byte(c.KeyPassphrase))
	}
	if err != nil {
		return nil, settingsError(errors.New("the SSH key cannot be read"), cause, "ssh-keygen -y -f KEY # asks for the passphrase and prints the public key") // err may hold parts of it
	}
	return signer, nil
}

// knownHosts reads the files that prove host keys. There is no way around
// them.
func (c *SSHConfig) knownHosts() (*knownhosts.HostKeyDB, error) {
	var files []string
	if c.KnownHosts != "" {
		files = []string{c.KnownHosts}
	} else {
		for _, file := range usualKnownHosts() {
			if _, err := os.Stat(file); err == nil {
				files = append(files, file)
			}
		}
	}
	db, err := knownhosts.NewDB(files...)
	if err != nil {
		return nil, settingsError(fmt.Errorf("read known hosts: %w", err), "The file is missing, not readable or malformed.", c.scan())
	}
	return db, nil
}

func usualKnownHosts() []string {
	out := []string{"/etc/ssh/ssh_known_hosts"}
	if home, err := os.UserHomeDir(); err == nil {
		out = append([]string{filepath.Join(home, ".ssh", "known_hosts")}, out...)
	}
	return out
}

// file is where a host key belongs.
func (c *SSHConfig) file() string {
	if c.KnownHosts != "" {
		return c.KnownHosts
	}
	return usualKnownHosts()[0]
}

// scan is the command that adds the host's key.
func (c *SSHConfig) scan() string {
	return fmt.Sprintf("ssh-keyscan -p %d %s >> %s # then compare the fingerprint with one that you trust: ssh-keygen -l -f %[3]s", c.port(), c.Host, c.file())
}

// forget is the commands that replace the host's key.
func (c *SSHConfig) forget() string {
	return fmt.Sprintf("ssh-keygen -R %q -f %s\n%s", knownhosts.Normalize(c.address()), c.file(), c.scan())
}

// prove compares the key that a server shows with the known ones.
func (c *SSHConfig) prove(known *knownhosts.HostKeyDB) ssh.HostKeyCallback {
	check := known.HostKeyCallback()
	return func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := check(host, remote, key)
		shown := key.Type() + " " + ssh.FingerprintSHA256(key)
		switch {
		case err == nil:
			return nil
		case knownhosts.IsHostUnknown(err):
			return settingsError(fmt.Errorf("the host key is not known: the server shows %s", shown),
				"The server was never connected to from here.", c.scan())
		case knownhosts.IsHostKeyChanged(err):
			return settingsError(fmt.Errorf("the host key has changed: the server shows %s, known is another in %s", shown, knownAt(err)),
				"The server was installed anew, or somebody stands between it and you: ask its administrator before you go on.",
				c.forget())
		}
		return settingsError(fmt.Errorf("the host key was refused: %w", err), "The key was revoked in known_hosts, or its certificate does not fit.", "")
	}
}

// knownAt names the lines that hold the keys that were expected.
func knownAt(err error) string {
	var mismatch *sshhosts.KeyError
	if !errors.As(err, &mismatch) {
		return "known_hosts"
	}
	lines := make([]string, len(mismatch.Want))
	for i, k := range mismatch.Want {
		lines[i] = fmt.Sprintf("%s:%d", k.Filename, k.Line)
	}
	return strings.Join(lines, ", ")
}

// handshakeError says what went wrong between connecting and being let in.
func (t *Tunnel) handshakeError(ctx context.Context, err error) *Error {
	var known *Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(context.Cause(ctx), context.Canceled):
		return &Error{Class: Canceled, Err: context.Canceled}
	case strings.Contains(err.Error(), "unable to authenticate"):
		how := "The server does not accept the key of key_file for this user."
		if t.cfg.KeyFile == "" {
			how = "The agent has no key that the server accepts for this user."
		}
		return settingsError(err, how, "Add the public key to ~/.ssh/authorized_keys of "+t.cfg.User+" at "+t.cfg.Host+".")
	case strings.Contains(err.Error(), "no common algorithm for host key"):
		return settingsError(errors.New("the host key has changed: the server has no key of the kind that known_hosts has for it"),
			"The server was installed anew, or somebody stands between it and you: ask its administrator before you go on.", t.cfg.forget())
	case ctx.Err() != nil:
		err = fmt.Errorf("no answer within %s", DefaultConnectTimeout)
	}
	return &Error{Code: CodeUnreachable, Class: Retry, Err: err, Causes: []string{"What listens there is not an SSH server, or it is overloaded."}}
}
