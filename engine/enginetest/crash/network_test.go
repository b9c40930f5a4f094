package crash

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-etl/leat/engine/enginetest/faultproxy"
	"github.com/leat-etl/leat/engine/enginetest/pgserver"
)

// TestNetworkFails lets the network between the program and its source fail in
// every way, during the historical load and then in the log, while the source
// changes. The source has two addresses, of which one is lost for a while.
// wal_sender_timeout is off: the server itself never finds out that the reader
// of a silent connection is gone.
func TestNetworkFails(t *testing.T) {
	t.Parallel()
	server := pgserver.Own(t, pgserver.Options{Settings: map[string]string{"wal_sender_timeout": "0"}})
	p := newPipeline(t, server, variant{"postgres", "soft", false, 1, false}, *seed+3000)
	n := &network{pipeline: p, random: rand.New(rand.NewPCG(uint64(p.seed), 3)), ways: [2]*faultproxy.Proxy{p.proxy(), p.proxy()}}
	p.reachThrough(n.ways)
	n.delay(5 * time.Millisecond)
	r := p.run("")
	p.until(r, "the load began", func() bool { return p.logged("slot created") > 0 })
	n.fail(r, "silence during the load", (*faultproxy.Proxy).Silence)
	n.fail(r, "cut during the load", (*faultproxy.Proxy).Cut)
	n.delay(0)
	p.until(r, "the load ended", func() bool { return p.logged("historical load finished") > 0 })
	p.work()
	p.arrives(r, -1)
	p.pace(quickly)
	n.fail(r, "silence", (*faultproxy.Proxy).Silence)
	n.delay(50 * time.Millisecond)
	n.fail(r, "cut while slow", (*faultproxy.Proxy).Cut)
	n.delay(0)
	lost := n.fail(r, "one address lost", func(w *faultproxy.Proxy) { w.Refuse(true); w.Cut() })
	n.fail(r, "silence of the other address", func(w *faultproxy.Proxy) { lost.Refuse(false); w.Silence() })
	p.rest()
	p.arrives(r, -2)
	r.after(0, syscall.SIGTERM)
	if code, by := r.wait(); code != 0 || by != 0 {
		t.Fatalf("leat run ended with code %d, signal %v, after SIGTERM", code, by)
	}
	p.prove()
}

// network is two ways from the program to its source.
type network struct {
	*pipeline
	random *rand.Rand
	ways   [2]*faultproxy.Proxy
}

func (n *network) delay(d time.Duration) {
	for _, w := range n.ways {
		w.Delay(d)
	}
}

// fail makes a fault on the way that the program uses, at a random moment, and
// waits until it has connected anew. It returns that way.
func (n *network) fail(r *process, name string, fault func(*faultproxy.Proxy)) *faultproxy.Proxy {
	n.t.Helper()
	timer := time.NewTimer(time.Duration(n.random.Int64N(int64(500 * time.Millisecond))))
	select {
	case <-timer.C:
	case <-r.ended:
	}
	const some, much = 100, 5000 // bytes of a stream that is idle, and of a session that begins
	var used, other *faultproxy.Proxy
	find := func() {
		used = nil
		start := [2]int64{n.ways[0].Moved(), n.ways[1].Moved()}
		n.until(r, "the program used the network, for "+name, func() bool {
			for i, w := range n.ways {
				if w.Moved() > start[i]+some {
					used, other = w, n.ways[1-i]
				}
			}
			return used != nil
		})
	}
	find()
	retried, moved := n.logged("replication failed, trying again"), other.Moved()
	fault(used)
	again := time.Now().Add(unnoticed)
	n.until(r, name+" was noticed", func() bool {
		if n.logged("replication failed, trying again") > retried || other.Moved() > moved+much {
			return true
		}
		if time.Now().After(again) { // the program had left that way just before
			find()
			moved = other.Moved()
			fault(used)
			again = time.Now().Add(unnoticed)
		}
		return false
	})
	return used
}

// unnoticed is how long a fault is given before it is made once more.
const unnoticed = 20 * time.Second

// until waits for something that the running program brings about.
func (p *pipeline) until(r *process, what string, reached func() bool) {
	p.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for !reached() {
		select {
		case <-tick.C:
		case <-r.ended:
			code, by := r.wait()
			p.t.Fatalf("leat run ended with code %d, signal %v, before %s", code, by, what)
		case <-timeout.C:
			r.showStacks()
			p.t.Fatalf("waited %s in vain until %s", patience, what)
		}
	}
}

// proxy is a way to the source that can fail.
func (p *pipeline) proxy() *faultproxy.Proxy {
	p.t.Helper()
	proxy, err := faultproxy.Start(net.JoinHostPort(p.source.Host(), strconv.Itoa(p.source.Port())))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			p.t.Error(err)
		}
	})
	return proxy
}

// reachThrough has the pipeline use the proxies instead of the source's own
// address.
func (p *pipeline) reachThrough(ways [2]*faultproxy.Proxy) {
	p.t.Helper()
	text, err := os.ReadFile(p.file)
	if err != nil {
		p.t.Fatal(err)
	}
	direct := fmt.Sprintf("host = %q\nport = %d\n", p.source.Host(), p.source.Port())
	through := fmt.Sprintf("hosts = [\"127.0.0.1:%d\", \"127.0.0.1:%d\"]\nreceive_timeout = \"1s\"\n", ways[0].Port(), ways[1].Port())
	changed := strings.Replace(string(text), direct, through, 1)
	if changed == string(text) {
		p.t.Fatal("the pipeline file does not name the source")
	}
	if err := os.WriteFile(p.file, []byte(changed), 0o600); err != nil {
		p.t.Fatal(err)
	}
}
