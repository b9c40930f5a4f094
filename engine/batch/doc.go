// Package batch is the value that travels through Leat: changes of one table
// in commit order, as Arrow columns with an operation, a position and a
// presence bit beside each row.
//
// # Three states
//
// A cell is a value, null, or absent. Absent means that the source did not
// send the column: an unchanged TOAST value of an update, or a non-key column
// of a delete. Arrow's validity bitmap tells value from null; Batch.Present
// tells absent from both. An absent cell is also marked null in the validity
// bitmap so that a reader that ignores presence never sees stale bytes, but
// nothing may write that null to a destination.
//
// # Key changes
//
// An update that changes the row identity is two neighbouring rows: OldKey
// carries the identity the row had (all other columns absent), and the Update
// that follows it carries the new row. They are never separated: not by a cut
// between batches, not by a selection.
//
// # Sentinels
//
// Infinity in timestamp and date columns and NaN in decimal columns are
// encoded by the constants of this package (PosInfinity and its siblings).
// They are outside the range of PostgreSQL's finite values.
//
// # Ownership
//
// A Batch owns one reference to its Arrow record. Release gives it back;
// buffers then return to the pool that the Builder drew them from. A batch
// that is dropped without Release is collected by the garbage collector.
package batch
