// Package faultproxy stands between a test and a server and does to their
// connections what networks do: it cuts them, delays what they carry, refuses
// new ones, or goes on holding them without forwarding anything.
package faultproxy

import (
	"context"
	"net"
	"sync"
	"time"
)

// Proxy forwards TCP connections to one address. It is safe for concurrent
// use.
type Proxy struct {
	target   string
	listener net.Listener
	work     sync.WaitGroup

	mu      sync.Mutex        // guards what follows
	conns   map[net.Conn]bool // and whether they still carry anything
	moved   int64
	delay   time.Duration
	refuses bool
	limit   int64 // of bytes from a client, 0 for none
	quiet   bool  // silence is what comes at the limit, not the end

	closed chan struct{}
}

// Start opens a proxy for the server at target, on a port of its own of
// 127.0.0.1. The caller closes it.
func Start(target string) (*Proxy, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, listener: listener, conns: map[net.Conn]bool{}, closed: make(chan struct{})}
	p.work.Go(p.accept)
	return p, nil
}

// Port is where the proxy listens.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Close ends the proxy and all its connections.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	close(p.closed)
	p.Cut()
	p.work.Wait()
	return err
}

// Cut ends every connection at once, as a server that is restarted does.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, not an orderly end
		}
		c.Close()
	}
}

// Refuse has new connections ended at once, or taken again.
func (p *Proxy) Refuse(now bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = now
}

// Delay holds everything up by d on its way, in both directions.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Silence stops forwarding without closing anything: both sides see a peer
// that takes what it is sent and says nothing. It holds for the connections
// that are open now; new ones work.
func (p *Proxy) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.conns[c] = false
	}
}

// CutAfter ends each connection once more than n bytes have come from its
// client.
func (p *Proxy) CutAfter(n int64) { p.after(n, false) }

// SilenceAfter silences each connection once more than n bytes have come from
// its client; 0 lets it be.
func (p *Proxy) SilenceAfter(n int64) { p.after(n, true) }

func (p *Proxy) after(n int64, quiet bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit, p.quiet = n, quiet
}

// Moved is how many bytes have been forwarded.
func (p *Proxy) Moved() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moved
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.work.Go(func() { p.forward(near) })
	}
}

func (p *Proxy) forward(near net.Conn) {
	defer near.Close()
	if !p.add(near) {
		return
	}
	defer p.remove(near)
	far, err := net.DialTimeout("tcp", p.target, 10*time.Second)
	if err != nil {
		return
	}
	defer far.Close()
	if !p.add(far) {
		return
	}
	defer p.remove(far)
	var both sync.WaitGroup
	both.Go(func() { p.pump(near, far, true) })
	both.Go(func() { p.pump(far, near, false) })
	both.Wait()
}

func (p *Proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuses {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) remove(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// pump moves what from, which may be the client, sends to to, until either
// ends.
func (p *Proxy) pump(from, to net.Conn, client bool) {
	defer from.Close()
	defer to.Close()
	buf, sent := make([]byte, 64<<10), int64(0)
	for {
		n, err := from.Read(buf)
		if sent += int64(n); client && p.ends(from, to, sent) {
			return
		}
		if n > 0 && p.forwards(from, n) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if !p.forwards(from, 0) {
				<-p.closed // the other side learns nothing of it
			}
			return
		}
	}
}

// ends says whether a connection ends now that its client has sent so much, or
// silences it.
func (p *Proxy) ends(client, server net.Conn, sent int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit <= 0 || sent <= p.limit {
		return false
	}
	if p.quiet {
		p.conns[client], p.conns[server] = false, false
	}
	return !p.quiet
}

// forwards waits for the delay and says whether the connection still carries
// anything.
func (p *Proxy) forwards(c net.Conn, n int) bool {
	p.mu.Lock()
	delay, carries := p.delay, p.conns[c]
	if carries {
		p.moved += int64(n)
	}
	p.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-p.closed:
		}
	}
	return carries
}
