package postgres

import (
	"net"
	"syscall"
	"time"
)

// A peer that has vanished without a word is found out by the kernel: after
// this long without an answer to a keep-alive, or to what was sent.
const (
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 5 * time.Second
	keepAliveProbes   = 6
	unansweredLimit   = keepAliveIdle + keepAliveProbes*keepAliveInterval
)

// dialer opens the TCP connections to servers and tunnels.
var dialer = &net.Dialer{
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveProbes},
	Control: func(network, _ string, c syscall.RawConn) error {
		if network == "unix" {
			return nil
		}
		var failed error
		if err := c.Control(func(fd uintptr) { failed = limitUnanswered(fd, unansweredLimit) }); err != nil {
			return err
		}
		return failed
	},
}
