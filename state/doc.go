// Package state keeps what a pipeline must remember across restarts: where
// each database stands, what became of each object, the history of schemas,
// the ledger of snapshot chunks, failed events, the key-value store of plugins
// and the history of runs.
//
// A state folder holds:
//
//	lock         held with flock by the process that has the folder open
//	holder.json  who that process is, for people
//	db/          a Pebble store; its keys are described in keys.go
//	spool/       the spools of package spool, a folder each
//
// # Durability
//
// Store.Update is one atomic batch, synced before it returns: what it
// returned survives a crash, and what it did not return is there entirely or
// not at all. The write methods of Store are an Update of one operation.
//
// # Concurrency
//
// A Store may be used from many goroutines. Updates run one after another, so
// what a Tx reads cannot change before it commits. A Tx belongs to the
// function it is given to and must not outlive it.
package state
