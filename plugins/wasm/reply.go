package wasm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/leat-etl/leat/plugins/capability"
)

// maxReply bounds the JSON that a guest returns from one call.
const maxReply = 16 << 20

// replyBytes is the checked JSON text at a guest's address. It aliases memory.
func replyBytes(memory []byte, at, size uint32) ([]byte, error) {
	if size > maxReply {
		return nil, fmt.Errorf("a reply of %d bytes is larger than %d", size, maxReply)
	}
	text, err := window(memory, at, uint64(size), 1, "reply")
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(text) {
		return nil, errors.New("the reply is not valid UTF-8")
	}
	return text, nil
}

// guestError is the error member of a reply.
type guestError struct {
	Message string `json:"message"`
	Cause   int    `json:"cause"`
	// Class is that of a database error of the plugin's own.
	Class capability.Class `json:"class"`
}

// classes are those that a plugin may give an error of its own.
var classes = []capability.Class{capability.Connection, capability.Data, capability.Locked, capability.Resource, capability.Permission, capability.Schema, capability.Internal}

// decodeReply reads the envelope and, if the plugin succeeded, its result into
// out. A non-nil guestError is the plugin's own error.
func decodeReply(text []byte, out any) (*guestError, error) {
	var envelope struct {
		OK    json.RawMessage `json:"ok"`
		Error *guestError     `json:"error"`
	}
	if err := decodeStrict(text, &envelope); err != nil {
		return nil, fmt.Errorf("the reply: %w", err)
	}
	if e := envelope.Error; e != nil {
		if len(e.Message) > textBound {
			e.Message = strings.ToValidUTF8(e.Message[:textBound], "") + "..."
		}
		if e.Message == "" {
			e.Message = "the plugin reported an error without a message"
		}
		if e.Class != "" && !slices.Contains(classes, e.Class) {
			return nil, fmt.Errorf("the reply: error class %q is not one of %q", e.Class, classes)
		}
		return e, nil
	}
	if envelope.OK == nil {
		return nil, errors.New("the reply has neither ok nor error")
	}
	if out == nil {
		return nil, nil
	}
	if err := decodeStrict(envelope.OK, out); err != nil {
		return nil, fmt.Errorf("the reply's ok: %w", err)
	}
	return nil, nil
}

func decodeStrict(text []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}
