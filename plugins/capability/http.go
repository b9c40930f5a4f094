package capability

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// HTTPPolicy says what a plugin may ask of whom.
type HTTPPolicy struct {
	// Hosts are names, name:port or *.name for all names below; http:// before
	// one allows it without encryption. Addresses and networks (10.0.0.0/8)
	// allow what is refused otherwise: private, local and other special
	// addresses.
	Hosts []string
	// Timeout bounds a request with its redirects, MaxBytes each body.
	Timeout  time.Duration
	MaxBytes int64
}

// HTTP asks servers on behalf of a plugin, as a policy allows. It is safe for
// concurrent use.
type HTTP struct {
	policy   HTTPPolicy
	names    []allowedHost
	networks []netip.Prefix
	client   *http.Client
	resolve  func(ctx context.Context, host string) ([]netip.Addr, error)
}

// allowedHost is one entry of a policy.
type allowedHost struct {
	scheme, name, port string
	below              bool
}

// maxRedirects is how often an answer may lead elsewhere.
const maxRedirects = 5

// NewHTTP checks a policy.
func NewHTTP(p HTTPPolicy) (*HTTP, error) {
	h := &HTTP{policy: p}
	for _, entry := range p.Hosts {
		if err := h.allow(entry); err != nil {
			return nil, err
		}
	}
	h.resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	h.client = &http.Client{
		Timeout: p.Timeout,
		// No proxy: it would decide where requests go.
		Transport: &http.Transport{DialContext: h.dial, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return refused("the answer led elsewhere more than %d times", maxRedirects)
			}
			return h.check(r.URL)
		},
	}
	return h, nil
}

func (h *HTTP) allow(entry string) error {
	if network, err := netip.ParsePrefix(entry); err == nil {
		h.networks = append(h.networks, network.Masked())
		return nil
	}
	a := allowedHost{scheme: "https", port: "443", name: entry}
	if rest, plain := strings.CutPrefix(entry, "http://"); plain {
		a.scheme, a.port, a.name = "http", "80", rest
	}
	if host, port, err := net.SplitHostPort(a.name); err == nil {
		a.name, a.port = host, port
	}
	if addr, err := netip.ParseAddr(strings.Trim(a.name, "[]")); err == nil {
		h.networks = append(h.networks, netip.PrefixFrom(addr, addr.BitLen()))
		a.name = addr.String()
	}
	a.name, a.below = strings.CutPrefix(strings.ToLower(a.name), "*.")
	if a.name == "" || strings.ContainsAny(a.name, "/*@ ") {
		return fmt.Errorf("%q is neither a host, as in api.example.org, example.org:8443 or *.example.org, nor an address or network", entry)
	}
	h.names = append(h.names, a)
	return nil
}

// HTTPRequest is what a plugin asks. Body is text, or base64 in BodyBase64.
type HTTPRequest struct {
	Method     string            `json:"method"`
	URL        string            `json:"url"`
	Headers    map[string]string `json:"headers"`
	Body       string            `json:"body"`
	BodyBase64 []byte            `json:"body_base64"`
}

// HTTPResponse is what the server answered: a body that is not text is in
// BodyBase64.
type HTTPResponse struct {
	Status     int               `json:"status"`
	Headers    map[string]string `json:"headers"`
	Body       string            `json:"body,omitempty"`
	BodyBase64 []byte            `json:"body_base64,omitempty"`
}

// forbiddenHeaders belong to the connection, not to the request.
var forbiddenHeaders = []string{"Host", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Te", "Trailer", "Proxy-Authorization", "Proxy-Connection"}

// Do sends a request. Every answer of a server is a response; what keeps it
// from coming is an *Error.
func (h *HTTP) Do(ctx context.Context, in HTTPRequest) (*HTTPResponse, error) {
	target, err := url.Parse(in.URL)
	if err != nil || target.Host == "" {
		return nil, refused("the URL cannot be read")
	}
	if err := h.check(target); err != nil {
		return nil, err
	}
	body := in.BodyBase64
	if in.Body != "" {
		body = []byte(in.Body)
	}
	if int64(len(body)) > h.policy.MaxBytes {
		return nil, refused("the request has a body of %d bytes, the pipeline allows %d", len(body), h.policy.MaxBytes)
	}
	r, err := http.NewRequestWithContext(ctx, in.Method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, refused("the method cannot be used")
	}
	for name, value := range in.Headers {
		if slices.Contains(forbiddenHeaders, http.CanonicalHeaderKey(name)) {
			return nil, refused("the header %s is not a plugin's to set", http.CanonicalHeaderKey(name))
		}
		r.Header.Set(name, value)
	}
	answer, err := h.client.Do(r)
	if err != nil {
		return nil, h.explain(target.Host, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, h.policy.MaxBytes+1))
	if err != nil {
		return nil, h.explain(target.Host, err)
	}
	if int64(len(text)) > h.policy.MaxBytes {
		return nil, &Error{Class: Resource, Message: fmt.Sprintf("the answer of %s has more than the %d bytes that the pipeline allows", target.Host, h.policy.MaxBytes), Hint: "raise max_bytes of the grant"}
	}
	out := &HTTPResponse{Status: answer.StatusCode, Headers: map[string]string{}}
	for name := range answer.Header {
		out.Headers[strings.ToLower(name)] = strings.ToValidUTF8(answer.Header.Get(name), "?")
	}
	if out.BodyBase64 = text; utf8.Valid(text) {
		out.Body, out.BodyBase64 = string(text), nil
	}
	return out, nil
}

// check holds a URL against the allowed names; dial holds the address that the
// name has against the allowed networks.
func (h *HTTP) check(u *url.URL) error {
	if u.User != nil {
		return refused("the URL of %s holds a user: use a header", u.Host)
	}
	name, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	for _, a := range h.names {
		if a.scheme == u.Scheme && a.port == port && (a.name == name && !a.below || a.below && strings.HasSuffix(name, "."+a.name)) {
			return nil
		}
	}
	return refused("the pipeline does not allow %s://%s:%s", u.Scheme, name, port)
}

// dial resolves a name once and connects to the very address that was checked,
// so that a name server cannot answer otherwise a moment later.
func (h *HTTP) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addresses := []netip.Addr{}
	if literal, err := netip.ParseAddr(host); err == nil {
		addresses = append(addresses, literal)
	} else if addresses, err = h.resolve(ctx, host); err != nil {
		return nil, err
	}
	for _, a := range addresses {
		if err := h.checkAddress(host, a); err != nil {
			return nil, err // one bad address spoils the name
		}
	}
	var failed error = &net.DNSError{Err: "no address", Name: host}
	for _, a := range addresses {
		c, err := (&net.Dialer{Timeout: h.policy.Timeout}).DialContext(ctx, network, net.JoinHostPort(a.Unmap().String(), port))
		if err == nil {
			return c, nil
		}
		failed = err
	}
	return nil, failed
}

// special are networks that are not the public Internet, beside those that
// netip knows.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("::/96"),
}

func (h *HTTP) checkAddress(host string, a netip.Addr) error {
	a = a.Unmap().WithZone("")
	in := func(p netip.Prefix) bool { return p.Contains(a) }
	if slices.ContainsFunc(h.networks, in) {
		return nil
	}
	if !a.IsGlobalUnicast() || a.IsPrivate() || slices.ContainsFunc(special, in) {
		return refused("%s has the address %s, which is private or local: the pipeline has to list the address or its network to allow it", host, a)
	}
	return nil
}

// explain makes an error of a request; a refusal of our own stays what it is.
func (h *HTTP) explain(host string, err error) error {
	var own *Error
	var timeout net.Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Class: Connection, Message: fmt.Sprintf("%s did not answer within %s", host, h.policy.Timeout), Hint: "raise timeout of the grant"}
	}
	var ask *url.Error
	if errors.As(err, &ask) {
		err = ask.Err // without the URL, which may hold a secret
	}
	return &Error{Class: Connection, Message: fmt.Sprintf("ask %s: %v", host, err)}
}

func refused(format string, args ...any) error {
	return &Error{Class: Permission, Message: fmt.Sprintf(format, args...), Hint: "see grants in the pipeline file"}
}
