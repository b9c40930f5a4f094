package capability

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// site is a server that a test asks under names of its own.
type site struct {
	*httptest.Server
	asked atomic.Int64
}

func newSite(t *testing.T, f http.HandlerFunc) *site {
	s := &site{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		f(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) port() string {
	u, _ := url.Parse(s.URL)
	return u.Port()
}

// asks makes an HTTP whose names have the given addresses.
func asks(t *testing.T, p HTTPPolicy, names map[string][]string) *HTTP {
	t.Helper()
	if p.Timeout == 0 {
		p.Timeout = 10 * time.Second
	}
	if p.MaxBytes == 0 {
		p.MaxBytes = 1 << 10
	}
	h, err := NewHTTP(p)
	if err != nil {
		t.Fatal(err)
	}
	h.resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
		var out []netip.Addr
		for _, a := range names[host] {
			out = append(out, netip.MustParseAddr(a))
		}
		if out == nil {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return out, nil
	}
	return h
}

func wantRefused(t *testing.T, h *HTTP, r HTTPRequest, class Class, want string) {
	t.Helper()
	if r.Method == "" {
		r.Method = "GET"
	}
	out, err := h.Do(context.Background(), r)
	var e *Error
	if !errors.As(err, &e) || e.Class != class || !strings.Contains(e.Message, want) {
		t.Errorf("%s gives %+v, %v (%+v), want %s: %s", r.URL, out, err, e, class, want)
	}
	if strings.Contains(fmt.Sprint(err), "s3cret") {
		t.Errorf("the error holds a secret: %v", err)
	}
}

func TestHTTPAsksWhomThePipelineAllows(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Method+" "+r.Header.Get("X-Ask"))
		w.WriteHeader(http.StatusTeapot)
		w.Write([]byte("tea"))
	})
	h := asks(t, HTTPPolicy{Hosts: []string{"http://*.example.org:" + s.port(), "127.0.0.1"}}, map[string][]string{"api.example.org": {"127.0.0.1"}})
	out, err := h.Do(context.Background(), HTTPRequest{Method: "POST", URL: "http://api.example.org:" + s.port() + "/a", Headers: map[string]string{"X-Ask": "milk"}, Body: "b"})
	if err != nil || out.Status != http.StatusTeapot || out.Body != "tea" || out.Headers["x-seen"] != "POST milk" {
		t.Fatalf("the answer is %+v, %v", out, err)
	}
}

func TestHTTPRefuses(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/long":
			w.Write([]byte(strings.Repeat("x", 2000)))
		case "/slow":
			<-r.Context().Done()
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/metadata":
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data?token=s3cret", http.StatusFound)
		case "/other":
			http.Redirect(w, r, "http://elsewhere.example.com/", http.StatusFound)
		case "/inside":
			http.Redirect(w, r, "http://inside.example.org:"+r.URL.Query().Get("port")+"/", http.StatusFound)
		}
	})
	base := "http://api.example.org:" + s.port()
	names := map[string][]string{"api.example.org": {"127.0.0.1"}, "inside.example.org": {"10.1.2.3"}, "mixed.example.org": {"93.184.216.34", "192.168.0.1"}, "mapped.example.org": {"::ffff:127.0.0.2"}, "nat.example.org": {"64:ff9b::7f00:1"}, "other.example.org": {"93.184.216.34"}}
	h := asks(t, HTTPPolicy{Hosts: []string{"http://*.example.org:" + s.port(), "http://169.254.0.9", "127.0.0.1", "other.example.org"}, Timeout: 300 * time.Millisecond}, names)
	for _, c := range []struct {
		r     HTTPRequest
		class Class
		want  string
	}{
		{HTTPRequest{URL: base + "/metadata"}, Permission, "does not allow http://169.254.169.254:80"},
		{HTTPRequest{URL: base + "/other"}, Permission, "does not allow http://elsewhere.example.com:80"},
		{HTTPRequest{URL: base + "/inside?port=" + s.port()}, Permission, "inside.example.org has the address 10.1.2.3, which is private or local"},
		{HTTPRequest{URL: base + "/round"}, Permission, "led elsewhere more than 5 times"},
		{HTTPRequest{URL: base + "/long"}, Resource, "more than the 1024 bytes"},
		{HTTPRequest{URL: base + "/slow?key=s3cret"}, Connection, "did not answer within"},
		{HTTPRequest{URL: base + "/", Body: strings.Repeat("x", 1025)}, Permission, "a body of 1025 bytes"},
		{HTTPRequest{URL: base + "/", Headers: map[string]string{"host": "x"}}, Permission, "the header Host"},
		{HTTPRequest{URL: base + "/", Method: "G T"}, Permission, "the method"},
		{HTTPRequest{URL: "http://user:s3cret@api.example.org:" + s.port()}, Permission, "holds a user"},
		{HTTPRequest{URL: "http://mixed.example.org:" + s.port()}, Permission, "192.168.0.1, which is private"},
		{HTTPRequest{URL: "http://mapped.example.org:" + s.port()}, Permission, "127.0.0.2, which is private"},
		{HTTPRequest{URL: "http://nat.example.org:" + s.port()}, Permission, "64:ff9b::7f00:1, which is private"},
		{HTTPRequest{URL: "http://gone.example.org:" + s.port()}, Connection, "no such host"},
		{HTTPRequest{URL: "https://api.example.org:" + s.port()}, Permission, "does not allow https://api.example.org"},
		{HTTPRequest{URL: "http://api.example.org"}, Permission, "does not allow http://api.example.org:80"},
		{HTTPRequest{URL: "http://other.example.org"}, Permission, "does not allow http://other.example.org:80"},
		{HTTPRequest{URL: "http://example.org:" + s.port()}, Permission, "does not allow"},
		{HTTPRequest{URL: "http://api.example.org.evil.com:" + s.port()}, Permission, "does not allow"},
		{HTTPRequest{URL: "http://127.0.0.1:" + s.port()}, Permission, "does not allow"},
		{HTTPRequest{URL: "file:///etc/passwd"}, Permission, "cannot be read"},
		{HTTPRequest{URL: "gopher://api.example.org:" + s.port()}, Permission, "does not allow gopher"},
		{HTTPRequest{URL: "::"}, Permission, "cannot be read"},
	} {
		wantRefused(t, h, c.r, c.class, c.want)
	}
}

// TestHTTPAgainstRebinding has a name server that says a public address first
// and a local one when it is asked again.
func TestHTTPAgainstRebinding(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("inside")) })
	h := asks(t, HTTPPolicy{Hosts: []string{"http://rebind.example.org:" + s.port()}, Timeout: 300 * time.Millisecond}, nil)
	var questions atomic.Int64
	h.resolve = func(context.Context, string) ([]netip.Addr, error) {
		if questions.Add(1) == 1 {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil // no one is there
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	h.networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // stands for a public address
	r := HTTPRequest{Method: "GET", URL: "http://rebind.example.org:" + s.port()}
	if out, err := h.Do(context.Background(), r); err == nil {
		t.Errorf("an address that nobody has answered: %+v", out)
	}
	if n := questions.Load(); n != 1 {
		t.Errorf("the name was resolved %d times for one connection", n)
	}
	wantRefused(t, h, r, Permission, "127.0.0.1, which is private or local")
	if s.asked.Load() != 0 {
		t.Error("the local server was asked")
	}
}

func TestHTTPPoliciesAreChecked(t *testing.T) {
	for _, entry := range []string{"", "http://", "a b", "example.org/path", "user@example.org", "*.*.org"} {
		if _, err := NewHTTP(HTTPPolicy{Hosts: []string{entry}}); err == nil {
			t.Errorf("%q was accepted", entry)
		}
	}
	for _, entry := range []string{"10.0.0.0/8", "10.1.2.3", "::1", "[::1]:8080", "http://[::1]:8080", "EXAMPLE.org:8443"} {
		if _, err := NewHTTP(HTTPPolicy{Hosts: []string{entry}}); err != nil {
			t.Errorf("%q: %v", entry, err)
		}
	}
}
