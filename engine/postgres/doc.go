// Package postgres is the source: it connects to a PostgreSQL server, proves
// the prerequisites, reads the catalogue, keeps publications and a logical
// slot, loads tables as of a snapshot and streams their changes, all as
// batches of package batch.
//
// # What it never does to the source
//
// It publishes exactly the selected tables, never FOR ALL TABLES. A table
// without a usable replica identity is published for inserts and truncates
// only, so that no UPDATE or DELETE at the source can fail because of Leat.
// It never advances a slot by itself: a slot moves when the destination has
// made the changes durable and the stream acknowledges them.
//
// # Errors
//
// Every error of the server or of a connection goes through Classify, which
// returns an *Error: its class says what to do (retry, set the table aside,
// load again, stop), its code is the one of the connection error table, and
// its hint is the statement or the configuration line that removes the cause.
// No error holds a password.
package postgres
