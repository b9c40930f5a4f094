package kernel

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tink-crypto/tink-go/v2/daead/subtle"
)

// bindSIV encrypts deterministically by AES-SIV (RFC 5297), so that equal
// values stay equal, or decrypts what was encrypted so.
func bindSIV(b *binding) (*Kernel, error) {
	p := struct {
		Key      secret `json:"key"`
		Action   string `json:"action"`
		Encoding string `json:"encoding"`
		Context  string `json:"context"`
	}{Action: "encrypt", Encoding: "base64"}
	if err := errors.Join(b.takes(1), b.decode(&p)); err != nil {
		return nil, err
	}
	text, err := p.Key.reveal(b.settings)
	if err != nil {
		return nil, err
	}
	key, err := keyOf(text)
	if err != nil {
		return nil, fmt.Errorf("the key %w%s", err, p.Key.where())
	}
	cipher, err := subtle.NewAESSIV(key)
	if err != nil {
		return nil, errors.New("the key cannot be used")
	}
	encode, err := encodingOf(p.Encoding)
	if err != nil {
		return nil, err
	}
	decode := base64.StdEncoding.AppendDecode
	if p.Encoding == "hex" {
		decode = hex.AppendDecode
	}
	context := []byte(p.Context)
	switch p.Action {
	case "encrypt":
		return mapsText(func() mapper {
			return func(dst, value []byte) ([]byte, error) {
				sealed, err := cipher.EncryptDeterministically(value, context)
				if err != nil {
					return dst, errors.New("the value cannot be encrypted")
				}
				return encode(dst, sealed), nil
			}
		}), nil
	case "decrypt":
		if err := b.text(); err != nil {
			return nil, err
		}
		k := mapsText(func() mapper {
			var sealed []byte
			return func(dst, value []byte) ([]byte, error) {
				var err error
				if sealed, err = decode(sealed[:0], value); err != nil {
					return dst, fmt.Errorf("the value is not %s", p.Encoding)
				}
				clear, err := cipher.DecryptDeterministically(sealed, context)
				if err != nil || !utf8.Valid(clear) {
					return dst, errors.New("the value was not encrypted with this key and context, or has been changed since")
				}
				return append(dst, clear...), nil
			}
		})
		k.Reveals = p.Key.setting != ""
		return k, nil
	}
	return nil, fmt.Errorf("action: %q is not encrypt or decrypt", p.Action)
}

// keyOf reads a key of 64 bytes, two AES-256 keys, in base64 or hexadecimal.
func keyOf(text string) ([]byte, error) {
	if text == "" {
		return nil, errors.New("is empty")
	}
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
		if key, err := decode(text); err == nil && len(key) == subtle.AESSIVKeySize {
			return key, nil
		}
	}
	return nil, errors.New("is not 64 bytes in base64 or hexadecimal (openssl rand -base64 64 | tr -d '\\n' makes one)")
}
