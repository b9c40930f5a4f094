package capability

import (
	"errors"
	"fmt"
	"strings"
)

// errNaN says that a NaN met a column that has none and whose plan does not
// declare the loss.
var errNaN = errors.New("NaN has no form in a DECIMAL column, and the plan does not declare nan_to_null")

// errInexact says that no conversion between two types keeps every value.
var errInexact = errors.New("no conversion that keeps every value")

// IsNoTable says whether a statement failed because a table is not there.
func IsNoTable(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == "42P01" || e.Code == "Catalog Error" && strings.HasPrefix(e.Message, "Table with name "))
}

func tooManyRows() *Error {
	return &Error{Class: Internal, Message: fmt.Sprintf("the result has more than %d rows", MaxQueryRows), Hint: "ask for less, or count at the database"}
}

// tooManyBytes charges a cell to what is left of MaxQueryBytes.
func tooManyBytes(left *int, cell int) error {
	if *left -= cell; *left >= 0 {
		return nil
	}
	return &Error{Class: Internal, Message: fmt.Sprintf("the result has more than %d bytes", MaxQueryBytes), Hint: "ask for less"}
}

func nestedTransaction() *Error {
	return &Error{Class: Internal, Message: "a transaction is already open"}
}

// columnError says which column of an ingest failed, and never its value.
func columnError(class Class, c IngestColumn, err error) *Error {
	return &Error{Class: class, Message: fmt.Sprintf("column %q as %s: %v", c.Name, c.Type, err)}
}
