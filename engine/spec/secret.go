package spec

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// redacted is what a secret prints as.
const redacted = "[secret]"

// Secret is a string that may come from outside the file: a literal,
// { env = "NAME" } or { file = "path" }. It is read when it is revealed and
// prints as [secret] everywhere.
type Secret struct {
	// from is a function so that what ignores Format, as fmt does inside
	// unexported fields, prints an address. It is nil where nothing is set.
	from func() secretSource
	dir  string
}

type secretSource struct{ literal, env, file string }

// NewSecret returns a secret with a literal value.
func NewSecret(value string) Secret { return secretSource{literal: value}.in("") }

// in hides the source in a secret; files are named relative to dir.
func (src secretSource) in(dir string) Secret {
	return Secret{from: func() secretSource { return src }, dir: dir}
}

// IsSet says whether the file gives the secret at all.
func (s Secret) IsSet() bool { return s.from != nil }

func (s Secret) isLiteral() bool {
	return s.from != nil && s.from().env == "" && s.from().file == ""
}

// Reveal returns the value: the literal, the environment variable, or the file
// without its last line end. A secret that is not set is empty.
func (s Secret) Reveal() (string, error) {
	if s.from == nil {
		return "", nil
	}
	from := s.from()
	switch {
	case from.env != "":
		value, ok := os.LookupEnv(from.env)
		if !ok {
			return "", &SecretError{fmt.Errorf("read secret: environment variable %s is not set", from.env), fmt.Sprintf("export %s=...", from.env)}
		}
		return value, nil
	case from.file != "":
		text, err := os.ReadFile(beside(s.dir, from.file))
		if err != nil {
			return "", &SecretError{fmt.Errorf("read secret: %w", err), "write the secret there, for this user alone to read, or correct the path"}
		}
		return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
	}
	return from.literal, nil
}

// SecretError says that a secret is not where the pipeline file says, and what
// to do.
type SecretError struct {
	err  error
	Hint string
}

// Error implements error.
func (e *SecretError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *SecretError) Unwrap() error { return e.err }

// Format implements fmt.Formatter: a set secret prints as [secret] under every
// verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// String returns [secret], or nothing where the secret is not set.
func (s Secret) String() string {
	if s.from == nil {
		return ""
	}
	return redacted
}

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler, and so JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// FromTOML implements strict.Value.
func (s *Secret) FromTOML(v any) error {
	if literal, ok := v.(string); ok {
		*s = NewSecret(literal)
		return nil
	}
	from, ok := outside(v)
	if !ok {
		return errors.New(`must be a string, { env = "NAME" } or { file = "path" }`)
	}
	*s = from.in("")
	return nil
}

// outside reads { env = "..." } and { file = "..." }.
func outside(v any) (secretSource, bool) {
	table, ok := v.(map[string]any)
	if !ok || len(table) != 1 {
		return secretSource{}, false
	}
	env, _ := table["env"].(string)
	file, _ := table["file"].(string)
	return secretSource{env: env, file: file}, env != "" || file != ""
}

// TypeName implements strict.Value.
func (*Secret) TypeName() string { return `a string, { env = "NAME" } or { file = "path" }` }

// JSONSchema implements strict.Value.
func (*Secret) JSONSchema() map[string]any {
	one := func(key string) map[string]any {
		return map[string]any{
			"type": "object", "required": []string{key}, "additionalProperties": false,
			"properties": map[string]any{key: map[string]any{"type": "string", "minLength": 1}},
		}
	}
	return map[string]any{"anyOf": []any{one("env"), one("file"), map[string]any{"type": "string"}}}
}
