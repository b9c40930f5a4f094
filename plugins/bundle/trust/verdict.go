package trust

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/leat-etl/leat/plugins/bundle/sign"
)

// Subject is what somebody claims to have published.
type Subject struct {
	// What names it for people, such as acme/mask@1.2.0.
	What      string
	Publisher string
	// Digest is what a signature has to be about.
	Digest     string
	Signatures [][]byte
	// Pinned is set for what a lock file has pinned: it was installed while its
	// key was valid, and the key's days do not count any more.
	Pinned bool
}

// Verdict is what a store says of a subject that it does not refuse.
type Verdict struct {
	// KeyID is the key that signed, empty where none that is trusted did.
	KeyID string
	// Warning is set where the store's mode is all that let it pass.
	Warning string
}

// Error says that the store refuses something, and why.
type Error struct {
	What, Publisher string
	// Reasons are sentences, one for each signature, or one for there being
	// none.
	Reasons []string
	Hint    string
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("%s is not trusted: %s; %s", e.What, strings.Join(e.Reasons, "; "), e.Hint)
}

// Check judges something by its signatures. now is the time that the days of
// keys are held against.
func (s *Store) Check(subject Subject, now time.Time) (Verdict, error) {
	if s.Mode == Off {
		return Verdict{}, nil
	}
	refused := &Error{What: subject.What, Publisher: subject.Publisher, Hint: s.hint(subject.Publisher)}
	for _, text := range subject.Signatures {
		signature, err := sign.Parse(text)
		if err != nil {
			if !errors.Is(err, sign.ErrPredicate) {
				refused.Reasons = append(refused.Reasons, err.Error())
			}
			continue
		}
		key, reason := s.judge(signature, subject, now)
		if reason == "" {
			return Verdict{KeyID: key.public.ID()}, nil
		}
		refused.Reasons = append(refused.Reasons, reason)
	}
	if len(refused.Reasons) == 0 {
		refused.Reasons = []string{"it has no signature"}
	}
	revoked := s.revokedAmong(subject)
	if s.Mode == Warn && !revoked {
		return Verdict{Warning: refused.Error()}, nil
	}
	if revoked && subject.Pinned {
		refused.Hint += "; leat plugin update brings a newer version that another of the keys has signed, where there is one"
	}
	return Verdict{}, refused
}

func (s *Store) hint(publisher string) string {
	for _, p := range s.Publishers {
		if p.Name == publisher {
			return fmt.Sprintf("the keys of %s are in %s: leat plugin trust list", publisher, s.Path)
		}
	}
	return fmt.Sprintf("no key of %s is in %s: with a key that you have from them, leat plugin trust add %s KEY.pub", publisher, s.Path, publisher)
}

// judge finds the key of a signature and says why it does not count, nothing
// if it does.
func (s *Store) judge(signature sign.Signature, subject Subject, now time.Time) (*Key, string) {
	owner, key := s.maker(signature)
	day := now.UTC().Truncate(24 * time.Hour)
	switch {
	case key == nil && signature.KeyID != "":
		return nil, "it is signed with the unknown key " + signature.KeyID
	case key == nil:
		return nil, "it is signed with an unknown key"
	case signature.Digest != subject.Digest:
		return nil, fmt.Sprintf("a signature of %s is about another artifact, %s, not %s", owner.Name, signature.Digest, subject.Digest)
	case owner.Name != subject.Publisher:
		return nil, fmt.Sprintf("it is signed with a key of %s, not of %s", owner.Name, subject.Publisher)
	case key.Revoked != "":
		return nil, fmt.Sprintf("it is signed with the key %s, which is revoked: %s", key.public.ID(), key.Revoked)
	case !subject.Pinned && !key.ValidFrom.IsZero() && day.Before(key.ValidFrom.Time):
		return nil, fmt.Sprintf("it is signed with the key %s, which is valid from %s on", key.public.ID(), key.ValidFrom)
	case !subject.Pinned && !key.ValidUntil.IsZero() && day.After(key.ValidUntil.Time):
		return nil, fmt.Sprintf("it is signed with the key %s, which was valid until %s", key.public.ID(), key.ValidUntil)
	}
	return key, ""
}

// maker returns the key that made a signature. What the signature says of its
// key is not relied upon.
func (s *Store) maker(signature sign.Signature) (*Publisher, *Key) {
	for i := range s.Publishers {
		for j := range s.Publishers[i].Keys {
			if k := &s.Publishers[i].Keys[j]; signature.MadeBy(k.public) {
				return &s.Publishers[i], k
			}
		}
	}
	return nil, nil
}

// revokedAmong says whether a revoked key signed the subject: that is refused
// in the mode warn too.
func (s *Store) revokedAmong(subject Subject) bool {
	for _, text := range subject.Signatures {
		if signature, err := sign.Parse(text); err == nil {
			if _, key := s.maker(signature); key != nil && key.Revoked != "" {
				return true
			}
		}
	}
	return false
}
