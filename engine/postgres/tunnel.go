package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// DefaultSSHPort is the port of SSH servers.
const DefaultSSHPort = 22

// SSHConfig says how to reach the server through which connections go. Keys
// and files of known hosts are paths; a key may be the PEM text itself.
type SSHConfig struct {
	Host string
	// Port 0 means DefaultSSHPort.
	Port uint16
	User string
	// KeyFile is RSA, ECDSA or Ed25519; empty means that the agent at
	// SSH_AUTH_SOCK has the key.
	KeyFile       string
	KeyPassphrase string
	// KnownHosts proves the server; empty means the user's and the system's
	// known_hosts.
	KnownHosts string
}

func (c *SSHConfig) address() string {
	port := c.Port
	if port == 0 {
		port = DefaultSSHPort
	}
	return net.JoinHostPort(c.Host, strconv.Itoa(int(port)))
}

// tunnelKeepAlive is how often an SSH server is asked whether it is there, and
// how long it may take to answer.
const tunnelKeepAlive = 15 * time.Second

// Tunnel carries connections through an SSH server. The SSH connection is made
// for the first of them and ends with the last; one that was lost is made
// again for the next. A Tunnel is safe for concurrent use.
type Tunnel struct {
	cfg       SSHConfig
	keepAlive time.Duration

	mu   sync.Mutex // held while link is made, so that others wait for it
	link *sshLink   // nil where no connection goes through
}

// NewTunnel returns a tunnel. Nothing is dialled yet.
func NewTunnel(cfg SSHConfig) *Tunnel { return &Tunnel{cfg: cfg, keepAlive: tunnelKeepAlive} }

// sshLink is one SSH connection. conns is guarded by the tunnel's mutex.
type sshLink struct {
	client *ssh.Client
	conns  int
	ended  chan struct{} // closed when the connection is lost or closed
	work   sync.WaitGroup
}

// Dial opens a connection from the SSH server to address. The error is an
// *Error.
func (t *Tunnel) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	far, link, err := t.forward(ctx, network, address)
	var refused *ssh.OpenChannelError
	if err != nil && link != nil && ctx.Err() == nil && !errors.As(err, &refused) {
		// The link was lost before anybody noticed; the next one is new.
		_ = link.client.Close()
		<-link.ended
		far, link, err = t.forward(ctx, network, address)
	}
	switch {
	case link == nil:
		return nil, err // it says itself what is wrong
	case err != nil:
		return nil, t.forwardError(ctx, address, err)
	}
	near, inner := net.Pipe()
	c := &tunnelConn{Conn: near, remote: tunnelAddr{network, address}, tunnel: t, link: link}
	c.pumps.Add(2)
	go c.pump(far, inner)
	go c.pump(inner, far)
	return c, nil
}

// forward has the server connect to address. The link is nil where there was
// none; it is the connection's only if there is no error.
func (t *Tunnel) forward(ctx context.Context, network, address string) (net.Conn, *sshLink, error) {
	link, err := t.acquire(ctx)
	if err != nil {
		return nil, nil, err
	}
	far, err := link.client.DialContext(ctx, network, address)
	if err != nil {
		t.release(link)
	}
	return far, link, err
}

// acquire returns the link with one connection more.
func (t *Tunnel) acquire(ctx context.Context) (*sshLink, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.link != nil {
		select {
		case <-t.link.ended:
			t.link = nil // its connections release it
		default:
			t.link.conns++
			return t.link, nil
		}
	}
	client, err := t.connect(ctx)
	if err != nil {
		return nil, err
	}
	link := &sshLink{client: client, conns: 1, ended: make(chan struct{})}
	link.work.Add(2)
	go link.await()
	go link.keepAlive(t.keepAlive)
	t.link = link
	return link, nil
}

// release gives a connection back. The last one ends the link.
func (t *Tunnel) release(link *sshLink) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if link.conns--; link.conns > 0 {
		return
	}
	if t.link == link {
		t.link = nil
	}
	_ = link.client.Close() // it may have been lost
	link.work.Wait()
}

func (l *sshLink) await() {
	defer l.work.Done()
	_ = l.client.Wait() // why it ended is what its connections meet
	close(l.ended)
}

// keepAlive asks the server for an answer now and then, and closes a link on
// which none comes in time.
func (l *sshLink) keepAlive(every time.Duration) {
	defer l.work.Done()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-l.ended:
			return
		case <-tick.C:
		}
		late := time.AfterFunc(every, func() { l.client.Close() })
		_, _, err := l.client.SendRequest("keepalive@openssh.com", true, nil)
		late.Stop()
		if err != nil {
			return // it is closed
		}
	}
}

// tunnelConn is a forwarded connection. A pipe stands between its user and the
// SSH channel, which knows no deadlines.
type tunnelConn struct {
	net.Conn
	remote net.Addr
	tunnel *Tunnel
	link   *sshLink
	pumps  sync.WaitGroup
	once   sync.Once
}

// pumpBuffer is how much of a channel is moved at once.
const pumpBuffer = 64 << 10

// pump moves what comes from one end to the other until either ends, and then
// closes both.
func (c *tunnelConn) pump(from, to net.Conn) {
	defer c.pumps.Done()
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, pumpBuffer)) // the user of the connection meets the error
	from.Close()
	to.Close()
}

// Close ends the connection, and the tunnel's link with the last one.
func (c *tunnelConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.pumps.Wait()
		c.tunnel.release(c.link)
	})
	return err
}

// RemoteAddr is the address at the far end.
func (c *tunnelConn) RemoteAddr() net.Addr { return c.remote }

type tunnelAddr struct{ network, address string }

func (a tunnelAddr) Network() string { return a.network }
func (a tunnelAddr) String() string  { return a.address }

// connect opens and proves the SSH connection.
func (t *Tunnel) connect(ctx context.Context) (*ssh.Client, error) {
	login, err := t.cfg.login(ctx)
	if err != nil {
		return nil, t.describe(err)
	}
	defer login.close()
	ctx, cancel := context.WithTimeout(ctx, DefaultConnectTimeout)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", t.cfg.address())
	switch {
	case err != nil && errors.Is(context.Cause(ctx), context.Canceled): // net has an error of its own for it
		return nil, t.describe(context.Canceled)
	case err != nil:
		return nil, t.describe(&Error{Code: CodeUnreachable, Class: Retry, Err: err, Causes: []string{
			"The host or the port of [source.ssh] is wrong.", "The SSH server is not running, or a firewall drops the connection."},
			Hint: "Try: ssh -p " + strconv.Itoa(int(t.cfg.port())) + " " + t.cfg.User + "@" + t.cfg.Host})
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	c, channels, requests, err := ssh.NewClientConn(conn, t.cfg.address(), login.client)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, t.describe(t.handshakeError(ctx, err))
	}
	return ssh.NewClient(c, channels, requests), nil
}

func (c *SSHConfig) port() uint16 {
	if c.Port == 0 {
		return DefaultSSHPort
	}
	return c.Port
}

// opTunnel is the Op of errors of the SSH connection.
const opTunnel = "open SSH tunnel"

// describe says what the error is about.
func (t *Tunnel) describe(err error) *Error {
	e := Classify(err)
	e.Op, e.Object = opTunnel, t.cfg.User+"@"+t.cfg.address()
	return e
}

// forwardError says why the SSH server did not connect to address.
func (t *Tunnel) forwardError(ctx context.Context, address string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e := &Error{Op: "connect through SSH tunnel " + t.cfg.address(), Object: address, Code: CodeUnreachable, Class: Retry, Err: err,
		Causes: []string{"The SSH connection was lost."}}
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) {
		return e
	}
	switch refused.Reason {
	case ssh.Prohibited:
		e.Code, e.Class = CodeSettings, Stop
		e.Causes = []string{"The SSH server forbids forwarding for this user."}
		e.Hint = "AllowTcpForwarding yes # in sshd_config; PermitOpen and the key's options may forbid it, too"
	default:
		e.Causes = []string{"Seen from the SSH server, the database's host or port is wrong, or the server is not running.", "A firewall behind the SSH server drops the connection."}
		e.Hint = fmt.Sprintf("Try: ssh %s@%s pg_isready -h HOST -p PORT", t.cfg.User, t.cfg.Host)
	}
	return e
}
