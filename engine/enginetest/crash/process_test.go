package crash

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for the program: a busy machine is slow, a hang
// is a failure.
const patience = 4 * time.Minute

// process is the program at work on one pipeline.
type process struct {
	t     *testing.T
	p     *pipeline
	cmd   *exec.Cmd
	ended chan struct{}
	spoke chan struct{} // closed with its first output: it takes signals
}

// speech writes to a log and tells of the first text.
type speech struct {
	log   *os.File
	first sync.Once
	spoke chan struct{}
}

// Write implements io.Writer.
func (s *speech) Write(text []byte) (int, error) {
	s.first.Do(func() { close(s.spoke) })
	return s.log.Write(text)
}

// start runs a verb of the program, of one word or two. What it logs goes to the pipeline's log.
func (p *pipeline) start(failpoint, verb string, args ...string) *process {
	p.t.Helper()
	path, err := program()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.CommandContext(p.t.Context(), path, append(append(strings.Fields(verb), p.file), args...)...)
	cmd.Env = append(os.Environ(), "LEAT_FAILPOINT="+failpoint)
	log, err := os.OpenFile(p.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	log.WriteString("--- leat " + verb + " " + strings.Join(args, " ") + " " + failpoint + "\n")
	said := &speech{log: log, spoke: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	out := &process{p.t, p, cmd, make(chan struct{}), said.spoke}
	go func() {
		defer close(out.ended)
		defer log.Close()
		cmd.Wait() // how it ended is in cmd.ProcessState
	}()
	return out
}

// run starts replication.
func (p *pipeline) run(failpoint string, args ...string) *process {
	return p.start(failpoint, "run", append(args, "--quiet")...)
}

// easing is how often the writers become slower while the program is waited for:
// a source whose tables are altered and emptied all the time is loaded as soon
// as a load takes less time than that leaves, which depends on the machine.
const easing = 20 * time.Second

// showStacks ends a process that hangs; what it was doing goes to its log.
func (r *process) showStacks() {
	r.cmd.Process.Signal(syscall.SIGQUIT)
	grace := time.NewTimer(5 * time.Second)
	defer grace.Stop()
	select {
	case <-r.ended:
	case <-grace.C:
		r.cmd.Process.Kill()
		<-r.ended
	}
}

// wait returns the exit code, and the signal that ended the process if one did.
func (r *process) wait() (code int, by syscall.Signal) {
	r.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	ease := time.NewTicker(easing)
	defer ease.Stop()
	times := 1
	for r.runs(ease.C, timeout.C) {
		times *= 2
		r.p.slowDown(times)
	}
	if times > 1 {
		r.p.slowDown(1)
	}
	select {
	case <-r.ended:
	default:
		r.showStacks()
		r.t.Fatalf("%s did not end in %s", strings.Join(r.cmd.Args[1:2], " "), patience)
	}
	status := r.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return -1, status.Signal()
	}
	return status.ExitStatus(), 0
}

// runs waits for a tick of the process and says whether there was one before it
// ended, or the time was over.
func (r *process) runs(tick, over <-chan time.Time) bool {
	select {
	case <-tick:
		return true
	case <-r.ended:
	case <-over:
	}
	return false
}

// after signals the process once d has passed, unless it has ended.
func (r *process) after(d time.Duration, s syscall.Signal) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		r.cmd.Process.Signal(s) // it may have ended just now: wait tells
	case <-r.ended:
	}
}
