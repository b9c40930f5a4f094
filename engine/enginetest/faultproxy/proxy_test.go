package faultproxy

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestFaults sends words through the proxy to a server that gives them back.
func TestFaults(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	p, err := Start(echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port())))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	say := func(c net.Conn, wait time.Duration) error {
		c.SetDeadline(time.Now().Add(wait))
		if _, err := c.Write([]byte("word")); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 4))
		return err
	}
	c := dial()
	if err := say(c, time.Minute); err != nil {
		t.Fatal(err)
	}
	if p.Moved() != 8 {
		t.Errorf("moved %d bytes", p.Moved())
	}
	p.Delay(20 * time.Millisecond)
	if start := time.Now(); say(c, time.Minute) != nil || time.Since(start) < 40*time.Millisecond {
		t.Error("nothing was delayed")
	}
	p.Delay(0)
	p.Silence()
	if err := say(c, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a silent connection: %v", err)
	}
	if err := say(dial(), time.Minute); err != nil {
		t.Errorf("a new connection: %v", err)
	}
	p.Cut()
	if err := say(c, time.Minute); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a cut connection: %v", err)
	}
	p.Refuse(true)
	if err := say(dial(), time.Minute); err == nil {
		t.Error("a connection was taken")
	}
	p.Refuse(false)
	if err := say(dial(), time.Minute); err != nil {
		t.Error(err)
	}
	p.SilenceAfter(8)
	c = dial()
	for range 2 {
		if err := say(c, time.Minute); err != nil {
			t.Error(err)
		}
	}
	if err := say(c, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection that has sent too much for the silence to come: %v", err)
	}
	p.SilenceAfter(0)
	p.CutAfter(4)
	c = dial()
	if err := say(c, time.Minute); err != nil {
		t.Error(err)
	}
	if err := say(c, time.Minute); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection that has sent too much not to be cut: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
