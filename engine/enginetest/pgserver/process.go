package pgserver

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// logTailBytes is how much of a server's log is kept for error messages.
const logTailBytes = 8 << 10

// process is a running postgres and the end of its log.
type process struct {
	cmd  *exec.Cmd
	log  *logTail
	done chan struct{} // closed when it has ended
}

// launch starts a postgres. The goroutine that started it stays on its thread
// until it ends, because the kernel's parent-death signal is bound to the
// thread.
func launch(program string, args []string, dir string, a account, log io.Writer) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), log: &logTail{next: log}, done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = environment()
	p.cmd.SysProcAttr = a.attributes()
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.WaitDelay = 5 * time.Second
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.cmd.Wait() // how it ended is in the log; callers look at done
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// signal reaches the postmaster; one that has ended is no error.
func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// environment is that of the caller without its locale and its settings for
// PostgreSQL clients.
func environment() []string {
	env := []string{"LC_ALL=C", "TZ=UTC"}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") && !strings.HasPrefix(kv, "LC_") && !strings.HasPrefix(kv, "TZ=") {
			env = append(env, kv)
		}
	}
	return env
}

// logTail passes what it is given on and keeps the end.
type logTail struct {
	next io.Writer

	mu   sync.Mutex
	tail []byte
}

// Write implements io.Writer.
func (l *logTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.tail = append(l.tail, p...)
	if over := len(l.tail) - logTailBytes; over > 0 {
		l.tail = append(l.tail[:0], l.tail[over:]...)
	}
	l.mu.Unlock()
	if l.next != nil {
		return l.next.Write(p)
	}
	return len(p), nil
}

// String is the end of the log.
func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.tail)
}
