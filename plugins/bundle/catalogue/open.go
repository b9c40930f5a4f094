package catalogue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/leat-etl/leat/plugins/bundle/oci"
	"github.com/leat-etl/leat/plugins/bundle/trust"
)

// Reader fetches catalogues and what they lead to.
type Reader struct {
	Registry oci.Registry
	Trust    *trust.Store
	// CacheDir keeps the last copy of each remote catalogue, empty for none.
	CacheDir string
	// Warn takes sentences about what is odd but does not stop anything.
	Warn func(string)
}

// Catalogue is one that has been fetched.
type Catalogue struct {
	Source Source
	*Index

	reader  *Reader
	fetched fetched
}

// old is the age from which a catalogue is warned about.
const old = 30 * 24 * time.Hour

// fetched is a document with what its signature would be about.
type fetched struct {
	Text       []byte
	Digest     string
	Signatures [][]byte
}

// Open fetches a catalogue. One that cannot be reached is read from the copy
// of the last time, with a warning.
func (r *Reader) Open(ctx context.Context, s Source) (*Catalogue, error) {
	f, err := r.fetch(ctx, s)
	remote := strings.Contains(s.URL, "://")
	if err != nil && remote && ctx.Err() == nil {
		if copied, cacheErr := r.cached(s); cacheErr == nil {
			r.Warn(fmt.Sprintf("catalogue %s cannot be reached, its last copy is used: %v", s.Name, err))
			f, err = copied, nil
			remote = false
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open catalogue %s: %w", s.Name, err)
	}
	if err := r.judge(s, f); err != nil {
		return nil, fmt.Errorf("open catalogue %s: %w", s.Name, err)
	}
	x, err := Parse(f.Text)
	if err != nil {
		return nil, fmt.Errorf("open catalogue %s: %w", s.Name, err)
	}
	if remote {
		r.warnIfBack(s, x)
		if err := r.keep(s, f); err != nil {
			r.Warn(fmt.Sprintf("catalogue %s cannot be kept for later: %v", s.Name, err))
		}
	}
	if age := time.Since(x.Created); age > old {
		r.Warn(fmt.Sprintf("catalogue %s is %d days old: newer versions, and warnings about old ones, may be missing", s.Name, int(age.Hours()/24)))
	}
	return &Catalogue{s, x, r, f}, nil
}

// judge holds a catalogue against its publisher's keys, if one is named.
func (r *Reader) judge(s Source, f fetched) error {
	if s.Publisher == "" {
		return nil
	}
	v, err := r.Trust.Check(trust.Subject{What: "catalogue " + s.Name, Publisher: s.Publisher, Digest: f.Digest, Signatures: f.Signatures}, time.Now())
	if v.Warning != "" {
		r.Warn(v.Warning)
	}
	return err
}

// warnIfBack compares with the last copy: somebody may serve an old catalogue
// to hide that a version was yanked.
func (r *Reader) warnIfBack(s Source, x *Index) {
	f, err := r.cached(s)
	if err != nil {
		return
	}
	if last, err := Parse(f.Text); err == nil && x.Created.Before(last.Created) {
		r.Warn(fmt.Sprintf("catalogue %s was made at %s, the one seen before at %s: it went back", s.Name, x.Created.Format(time.RFC3339), last.Created.Format(time.RFC3339)))
	}
}

func (r *Reader) fetch(ctx context.Context, s Source) (fetched, error) {
	if address, ok := strings.CutPrefix(s.URL, "oci://"); ok {
		at, err := oci.ParseAddress(address)
		if err != nil {
			return fetched{}, err
		}
		if at.Tag == "" && at.Digest == "" {
			at.Tag = "latest"
		}
		d, err := r.Registry.PullDocument(ctx, at)
		return fetched{d.Data, d.Digest, d.Signatures}, err
	}
	text, err := r.file(ctx, s, IndexName, maxIndex)
	if err != nil {
		return fetched{}, err
	}
	sum := sha256.Sum256(text)
	f := fetched{Text: text, Digest: "sha256:" + hex.EncodeToString(sum[:])}
	signature, err := r.file(ctx, s, SignatureName, 1<<20)
	if err == nil {
		f.Signatures = [][]byte{signature}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fetched{}, err
	}
	return f, nil
}

// file reads a file of a catalogue in a folder or below a URL. One that is not
// there is fs.ErrNotExist.
func (r *Reader) file(ctx context.Context, s Source, name string, limit int64) ([]byte, error) {
	if !strings.Contains(s.URL, "://") {
		f, err := os.Open(filepath.Join(s.URL, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readAll(f, limit)
	}
	base := strings.TrimSuffix(s.URL, "/") + "/"
	address, err := url.Parse(base + name)
	if err != nil {
		return nil, err
	}
	return r.get(ctx, address, limit)
}

// get fetches a URL. An answer over HTTPS may not lead to one without.
func (r *Reader) get(ctx context.Context, address *url.URL, limit int64) ([]byte, error) {
	timeout := r.Registry.Timeout
	if timeout == 0 {
		timeout = oci.DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client := &http.Client{CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if len(via) > 5 {
			return errors.New("too many redirects")
		}
		if address.Scheme == "https" && next.URL.Scheme != "https" {
			return errors.New("it leads from HTTPS to HTTP")
		}
		return nil
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "leat")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return readAll(response.Body, limit)
	case http.StatusNotFound:
		return nil, fmt.Errorf("get %s: %w", address.Redacted(), fs.ErrNotExist)
	}
	return nil, fmt.Errorf("get %s: the server answers %s", address.Redacted(), response.Status)
}

func readAll(from io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("it has more than the %d bytes that are allowed", limit)
	}
	return data, err
}

// Bundle fetches a version. It is the one whose digest the catalogue lists, or
// an error.
func (c *Catalogue) Bundle(ctx context.Context, id string, v Version) (*oci.Artifact, error) {
	a, err := c.bundle(ctx, v)
	if err != nil {
		return nil, fmt.Errorf("fetch %s@%s by catalogue %s: %w", id, v.Version, c.Source.Name, err)
	}
	if string(a.Digest) != v.Digest {
		return nil, fmt.Errorf("fetch %s@%s by catalogue %s: %s holds %s, the catalogue says %s", id, v.Version, c.Source.Name, v.Location, a.Digest, v.Digest)
	}
	if got := a.Ref().String(); got != id+"@"+v.Version {
		return nil, fmt.Errorf("fetch %s@%s by catalogue %s: %s holds %s", id, v.Version, c.Source.Name, v.Location, got)
	}
	return a, nil
}

func (c *Catalogue) bundle(ctx context.Context, v Version) (*oci.Artifact, error) {
	if address, ok := strings.CutPrefix(v.Location, "oci://"); ok {
		at, err := oci.ParseAddress(address)
		if err != nil {
			return nil, err
		}
		at.Tag, at.Digest = "", v.Digest
		return c.reader.Registry.Pull(ctx, at)
	}
	if strings.HasPrefix(c.Source.URL, "oci://") {
		return nil, fmt.Errorf("its location %q is a path, and a catalogue in a registry has no files", v.Location)
	}
	data, err := c.reader.file(ctx, c.Source, v.Location, oci.MaxFile)
	if err != nil {
		return nil, err
	}
	return oci.Read(bytes.NewReader(data))
}

// copyPath is where the last copy of a catalogue is kept.
func (r *Reader) copyPath(s Source) string {
	sum := sha256.Sum256([]byte(s.URL))
	return filepath.Join(r.CacheDir, hex.EncodeToString(sum[:16])+".json")
}

// keep stores a copy together with its signatures, which are judged again when
// it is used.
func (r *Reader) keep(s Source, f fetched) error {
	if r.CacheDir == "" {
		return nil
	}
	text, err := json.Marshal(f)
	if err == nil {
		err = os.MkdirAll(r.CacheDir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(r.copyPath(s), text, 0o600)
	}
	return err
}

func (r *Reader) cached(s Source) (f fetched, err error) {
	if r.CacheDir == "" {
		return f, fs.ErrNotExist
	}
	text, err := os.ReadFile(r.copyPath(s))
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	return f, err
}
