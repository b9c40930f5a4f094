package kernel

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	"github.com/cespare/xxhash/v2"
)

// digest is a hash function; sum appends the digest of one message without an
// allocation.
type digest struct {
	start func() hash.Hash
	sum   func(dst, message []byte) []byte
}

var digests = map[string]digest{
	"sha256": {sha256.New, func(dst, m []byte) []byte { s := sha256.Sum256(m); return append(dst, s[:]...) }},
	"sha512": {sha512.New, func(dst, m []byte) []byte { s := sha512.Sum512(m); return append(dst, s[:]...) }},
	"sha1":   {sha1.New, func(dst, m []byte) []byte { s := sha1.Sum(m); return append(dst, s[:]...) }},
	"md5":    {md5.New, func(dst, m []byte) []byte { s := md5.Sum(m); return append(dst, s[:]...) }},
	"xxh64": {func() hash.Hash { return xxhash.New() }, func(dst, m []byte) []byte {
		s := xxhash.Sum64(m)
		return append(dst, byte(s>>56), byte(s>>48), byte(s>>40), byte(s>>32), byte(s>>24), byte(s>>16), byte(s>>8), byte(s))
	}},
}

// encodings print bytes as text.
var encodings = map[string]func(dst, src []byte) []byte{
	"hex":    func(dst, src []byte) []byte { return hex.AppendEncode(dst, src) },
	"base64": func(dst, src []byte) []byte { return base64.StdEncoding.AppendEncode(dst, src) },
}

func encodingOf(name string) (func(dst, src []byte) []byte, error) {
	encode := encodings[name]
	if encode == nil {
		return nil, fmt.Errorf("encoding: %q is not hex or base64", name)
	}
	return encode, nil
}

// bindHash replaces a value by the digest of salt and value.
func bindHash(b *binding) (*Kernel, error) {
	p := struct {
		Algorithm string `json:"algorithm"`
		Encoding  string `json:"encoding"`
		Salt      secret `json:"salt"`
	}{Algorithm: "sha256", Encoding: "hex"}
	if err := errors.Join(b.takes(1), b.decode(&p)); err != nil {
		return nil, err
	}
	d, ok := digests[p.Algorithm]
	if !ok {
		return nil, fmt.Errorf("algorithm: %q is not sha256, sha512, sha1, md5 or xxh64", p.Algorithm)
	}
	encode, err := encodingOf(p.Encoding)
	if err != nil {
		return nil, err
	}
	salt, err := p.Salt.reveal(b.settings)
	if err != nil {
		return nil, err
	}
	return mapsText(func() mapper {
		var message, sum []byte
		return func(dst, value []byte) ([]byte, error) {
			if salt != "" {
				message = append(append(message[:0], salt...), value...)
				value = message
			}
			sum = d.sum(sum[:0], value)
			return encode(dst, sum), nil
		}
	}), nil
}

// bindHMAC replaces a value by its keyed digest.
func bindHMAC(b *binding) (*Kernel, error) {
	p := struct {
		Algorithm string `json:"algorithm"`
		Encoding  string `json:"encoding"`
		Key       secret `json:"key"`
	}{Algorithm: "sha256", Encoding: "hex"}
	if err := errors.Join(b.takes(1), b.decode(&p)); err != nil {
		return nil, err
	}
	if p.Algorithm != "sha256" && p.Algorithm != "sha512" {
		return nil, fmt.Errorf("algorithm: %q is not sha256 or sha512", p.Algorithm)
	}
	encode, err := encodingOf(p.Encoding)
	if err != nil {
		return nil, err
	}
	key, err := p.Key.reveal(b.settings)
	if err != nil {
		return nil, err
	}
	if key == "" {
		return nil, fmt.Errorf("the key is empty%s", p.Key.where())
	}
	start := digests[p.Algorithm].start
	return mapsText(func() mapper {
		mac := hmac.New(start, []byte(key))
		var sum []byte
		return func(dst, value []byte) ([]byte, error) {
			mac.Reset()
			mac.Write(value)
			sum = mac.Sum(sum[:0])
			return encode(dst, sum), nil
		}
	}), nil
}

// where says which setting of the pipeline file a secret comes from.
func (s *secret) where() string {
	if s.setting == "" {
		return ""
	}
	return fmt.Sprintf(": give the plugin's setting %q in the pipeline file", s.setting)
}
