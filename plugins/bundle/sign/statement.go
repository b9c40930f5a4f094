package sign

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// MediaType is that of a signature.
const MediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

const (
	payloadType   = "application/vnd.in-toto+json"
	statementType = "https://in-toto.io/Statement/v1"
	// predicateType says that the statement is a signature and nothing more.
	predicateType = "https://sigstore.dev/cosign/sign/v1"
	maxBytes      = 256 << 10
)

// statement is an in-toto statement about one digest.
type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     struct{}  `json:"predicate"`
}

type subject struct {
	Digest map[string]string `json:"digest"`
}

// sigstoreBundle is the part of a Sigstore bundle that a key pair needs.
type sigstoreBundle struct {
	MediaType            string        `json:"mediaType"`
	VerificationMaterial material      `json:"verificationMaterial"`
	Envelope             dsse.Envelope `json:"dsseEnvelope"`
}

type material struct {
	PublicKey   *publicKeyHint  `json:"publicKey,omitempty"`
	Certificate json.RawMessage `json:"certificate,omitempty"`
	Chain       json.RawMessage `json:"x509CertificateChain,omitempty"`
}

type publicKeyHint struct {
	Hint string `json:"hint"`
}

// Sign signs a digest, sha256: and hexadecimal digits. A key gives one
// signature for one digest, the same on every machine: ECDSA takes its nonce
// from the message (RFC 6979).
func Sign(k PrivateKey, digest string) ([]byte, error) {
	hexDigest, ok := strings.CutPrefix(digest, "sha256:")
	if !ok {
		return nil, fmt.Errorf("sign %q: not a sha256 digest", digest)
	}
	payload, err := json.Marshal(statement{Type: statementType, Subject: []subject{{map[string]string{"sha256": hexDigest}}}, PredicateType: predicateType})
	if err != nil {
		return nil, fmt.Errorf("encode statement: %w", err)
	}
	signature, err := k.sign(dsse.PAE(payloadType, payload))
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", digest, err)
	}
	return json.Marshal(sigstoreBundle{
		MediaType: MediaType, VerificationMaterial: material{PublicKey: &publicKeyHint{k.public.hint()}},
		Envelope: dsse.Envelope{
			PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(payload),
			Signatures: []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(signature)}},
		},
	})
}

func (k PrivateKey) sign(message []byte) ([]byte, error) {
	if k.public.Algorithm() == Ed25519 {
		return k.signer().Sign(rand.Reader, message, crypto.Hash(0))
	}
	sum := sha256.Sum256(message)
	return k.signer().Sign(nil, sum[:], crypto.SHA256)
}

// Signature is one that has been read: what it claims, not yet who made it.
type Signature struct {
	// Digest is what it is about, sha256: and hexadecimal digits.
	Digest string
	// KeyID is the ID of the key that it claims to be made with, empty if it
	// names its key in another way.
	KeyID string

	message, signature []byte
}

// Errors of Parse about signatures that are well-formed but of no use here.
var (
	ErrCertificate = errors.New("it was made with a certificate of a short-lived key, which cannot be verified offline: sign with a key of your own (cosign sign --key)")
	ErrPredicate   = errors.New("it is a statement of another kind, not a signature")
)

// Parse reads a Sigstore bundle.
func Parse(text []byte) (Signature, error) {
	var b sigstoreBundle
	if len(text) > maxBytes {
		return Signature{}, fmt.Errorf("read signature: %d bytes, more than the %d that are allowed", len(text), maxBytes)
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return Signature{}, fmt.Errorf("read signature: %w", err)
	}
	switch {
	case b.MediaType != MediaType && b.MediaType != "application/vnd.dev.sigstore.bundle+json;version=0.3":
		return Signature{}, fmt.Errorf("read signature: media type %q is not that of a Sigstore bundle 0.3", b.MediaType)
	case b.VerificationMaterial.Certificate != nil || b.VerificationMaterial.Chain != nil:
		return Signature{}, fmt.Errorf("read signature: %w", ErrCertificate)
	case b.Envelope.PayloadType != payloadType || len(b.Envelope.Signatures) != 1:
		return Signature{}, errors.New("read signature: it has no DSSE envelope with one signature of an in-toto statement")
	}
	payload, err := base64.StdEncoding.DecodeString(b.Envelope.Payload)
	if err != nil {
		return Signature{}, errors.New("read signature: its payload is not base64")
	}
	signature, err := base64.StdEncoding.DecodeString(b.Envelope.Signatures[0].Sig)
	if err != nil {
		return Signature{}, errors.New("read signature: it is not base64")
	}
	s := Signature{message: dsse.PAE(payloadType, payload), signature: signature}
	if s.Digest, err = digestOf(payload); err != nil {
		return Signature{}, fmt.Errorf("read signature: %w", err)
	}
	if key := b.VerificationMaterial.PublicKey; key != nil {
		if sum, err := base64.StdEncoding.DecodeString(key.Hint); err == nil && len(sum) == sha256.Size {
			s.KeyID = fmt.Sprintf("sha256:%x", sum)
		}
	}
	return s, nil
}

// digestOf reads the one digest that a statement is about.
func digestOf(payload []byte) (string, error) {
	var s statement
	d := json.NewDecoder(bytes.NewReader(payload))
	if err := d.Decode(&s); err != nil {
		return "", fmt.Errorf("its statement is not JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "", errors.New("something follows its statement")
	}
	if s.Type != statementType {
		return "", fmt.Errorf("its statement is of type %q, expected %s", s.Type, statementType)
	}
	if s.PredicateType != predicateType {
		return "", fmt.Errorf("%w: %s", ErrPredicate, s.PredicateType)
	}
	if len(s.Subject) != 1 || len(s.Subject[0].Digest["sha256"]) != 2*sha256.Size {
		return "", errors.New("its statement is not about one sha256 digest")
	}
	return "sha256:" + s.Subject[0].Digest["sha256"], nil
}

// MadeBy says whether the key made the signature.
func (s Signature) MadeBy(k PublicKey) bool { return k.verify(s.message, s.signature) }
