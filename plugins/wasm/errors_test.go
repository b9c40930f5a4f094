package wasm

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
)

var int16Type = arrow.PrimitiveTypes.Int16

// wantError checks that err is a plugin's error of the given kind.
func wantError(t testing.TB, err error, k Kind, text string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want a plugin error of kind %s", err, k)
	}
	if e.Kind != k || !strings.Contains(e.Message, text) {
		t.Errorf("error is %s: %s, want %s: ...%s...", e.Kind, e.Message, k, text)
	}
	return e
}
