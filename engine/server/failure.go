package server

import (
	"errors"

	"github.com/leat-etl/leat/engine"
	"github.com/leat-etl/leat/engine/postgres"
	"github.com/leat-etl/leat/plugins/capability"
)

// failure is an error on the wire, with what errors.As finds in it.
type failure struct {
	Error       string                   `json:"error"`
	Source      *postgres.Error          `json:"source,omitempty"`
	Database    *capability.Error        `json:"database,omitempty"`
	Refused     *engine.RequestError     `json:"refused,omitempty"`
	Unconfirmed *engine.UnconfirmedError `json:"unconfirmed,omitempty"`
}

func failureOf(err error) failure {
	f := failure{Error: err.Error()}
	errors.As(err, &f.Source)
	errors.As(err, &f.Database)
	errors.As(err, &f.Refused)
	errors.As(err, &f.Unconfirmed)
	return f
}

// received is the error again at the other end.
func (f failure) received() error {
	switch {
	case f.Database != nil:
		return &remoteError{f.Error, f.Database}
	case f.Refused != nil:
		return f.Refused
	case f.Unconfirmed != nil:
		return f.Unconfirmed
	case f.Source != nil:
		return &remoteError{f.Error, f.Source}
	}
	return errors.New(f.Error)
}

// remoteError is an error of the running engine.
type remoteError struct {
	text  string
	cause error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.cause }
