package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/youmark/pkcs8"
)

// Algorithm is a kind of key.
type Algorithm string

// The algorithms.
const (
	ECDSA   Algorithm = "ecdsa-p256"
	Ed25519 Algorithm = "ed25519"
)

const (
	publicBlock = "PUBLIC KEY"
	plainBlock  = "PRIVATE KEY"
	pkcs8Block  = "ENCRYPTED PRIVATE KEY"
)

// cosignBlocks are the PEM types under which cosign has stored private keys.
var cosignBlocks = []string{"ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"}

// PublicKey verifies signatures.
type PublicKey struct {
	key crypto.PublicKey // *ecdsa.PublicKey on P-256, or ed25519.PublicKey
	der []byte
}

func newPublicKey(key crypto.PublicKey) (PublicKey, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return PublicKey{}, fmt.Errorf("the key is on the curve %s: keys are ECDSA on P-256 or Ed25519", k.Curve.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return PublicKey{}, fmt.Errorf("the key is a %T: keys are ECDSA on P-256 or Ed25519", key)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	return PublicKey{key, der}, err
}

// ParsePublicKey reads a public key in PEM.
func ParsePublicKey(text []byte) (PublicKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != publicBlock {
		return PublicKey{}, fmt.Errorf("not a public key in PEM: want one block -----BEGIN %s-----", publicBlock)
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return PublicKey{}, errors.New("something follows the public key")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return PublicKey{}, fmt.Errorf("read public key: %w", err)
	}
	return newPublicKey(key)
}

// ID names the key: the SHA-256 of its DER form.
func (k PublicKey) ID() string {
	sum := sha256.Sum256(k.der)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// hint is the ID as a Sigstore bundle says it.
func (k PublicKey) hint() string {
	sum := sha256.Sum256(k.der)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// PEM writes the key as ParsePublicKey reads it.
func (k PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: k.der})
}

// Algorithm is the kind of the key.
func (k PublicKey) Algorithm() Algorithm {
	if _, ok := k.key.(ed25519.PublicKey); ok {
		return Ed25519
	}
	return ECDSA
}

func (k PublicKey) verify(message, signature []byte) bool {
	switch key := k.key.(type) {
	case ed25519.PublicKey:
		// cosign signs with the pre-hashed variant and verifies both.
		sum := sha512.Sum512(message)
		return ed25519.Verify(key, message, signature) || ed25519.VerifyWithOptions(key, sum[:], signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(message)
		return ecdsa.VerifyASN1(key, sum[:], signature)
	}
	return false
}

// PrivateKey signs. It prints as its public key's ID, whatever is done to
// print it.
type PrivateKey struct {
	// signer is a function so that no printer finds the key behind it.
	signer func() crypto.Signer
	public PublicKey
}

// Generate makes a new key.
func Generate(a Algorithm) (PrivateKey, error) {
	var key crypto.Signer
	var err error
	switch a {
	case ECDSA:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case Ed25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("algorithm %q: want %s or %s", a, ECDSA, Ed25519)
	}
	if err != nil {
		return PrivateKey{}, fmt.Errorf("make key: %w", err)
	}
	return newPrivateKey(key)
}

func newPrivateKey(key any) (PrivateKey, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return PrivateKey{}, fmt.Errorf("the key is a %T, which does not sign", key)
	}
	public, err := newPublicKey(signer.Public())
	if err != nil {
		return PrivateKey{}, err
	}
	return PrivateKey{func() crypto.Signer { return signer }, public}, nil
}

// Public returns the public key.
func (k PrivateKey) Public() PublicKey { return k.public }

// String implements fmt.Stringer.
func (k PrivateKey) String() string { return "private key of " + k.public.ID() }

// GoString implements fmt.GoStringer.
func (k PrivateKey) GoString() string { return k.String() }

// LogValue implements slog.LogValuer.
func (k PrivateKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Encrypt writes the key in PEM, encrypted with a passphrase in cosign's form:
// scrypt and NaCl's secretbox around PKCS#8.
func (k PrivateKey) Encrypt(passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, errors.New("encrypt key: the passphrase is empty")
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.signer())
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	box, err := encrypted.Encrypt(der, passphrase)
	if err != nil {
		return nil, fmt.Errorf("encrypt key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: cosignBlocks[0], Bytes: box}), nil
}

// ErrPassphrase says that a private key could not be decrypted.
var ErrPassphrase = errors.New("the passphrase is wrong")

// ParsePrivateKey reads a private key in PEM. passphrase is asked only where
// the key is encrypted.
func ParsePrivateKey(text []byte, passphrase func() ([]byte, error)) (PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return PrivateKey{}, errors.New("not a private key in PEM")
	}
	der := block.Bytes
	switch block.Type {
	case plainBlock:
	case cosignBlocks[0], cosignBlocks[1], pkcs8Block:
		secret, err := passphrase()
		if err != nil {
			return PrivateKey{}, err
		}
		if block.Type == pkcs8Block {
			key, err := pkcs8.ParsePKCS8PrivateKey(der, secret)
			if err != nil {
				return PrivateKey{}, ErrPassphrase
			}
			return newPrivateKey(key)
		}
		if der, err = encrypted.Decrypt(der, secret); err != nil {
			return PrivateKey{}, ErrPassphrase
		}
	case publicBlock:
		return PrivateKey{}, errors.New("this is the public key: sign with the private one")
	default:
		return PrivateKey{}, fmt.Errorf("a PEM block %q is not a private key that can be read: want PKCS#8 or cosign's form", block.Type)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return PrivateKey{}, errors.New("read private key: it is not PKCS#8")
	}
	return newPrivateKey(key)
}
