// Package relational is what the destinations with SQL have in common: names,
// tables that follow their source's schema, merging, appending, checkpoints.
// A Dialect says what a database does its own way.
//
// # How a batch is merged
//
// The host has reduced the batch to the last state of each key. Its rows go
// into a temporary stage; absent cells are filled from the rows that the
// target has now, under the old key where an OldKey row stands before; then
// the rows of all keys that vanish or are replaced are deleted, and what lives
// on is inserted. Everything happens in one transaction that ends with the
// pipeline's checkpoint.
package relational
