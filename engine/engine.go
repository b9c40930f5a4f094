// Package engine is the data path of Leat. A Pipeline reads changes from
// PostgreSQL, passes every batch through transform plugins and a destination
// plugin, and moves the source on only when the destination has the data:
//
//	postgres.Stream or ReadChunk -> Chain -> Destination -> state -> slot acknowledged
//
// # Invariants
//
// They are cited by number where they are enforced.
//
//  1. The source is acknowledged only up to what the destination has made durable.
//  2. Positions only move forward.
//  3. No row is dropped in silence: every row is applied, filtered by a named
//     plugin, or kept as a failed event.
//  4. Order per key is kept.
//  5. Checkpoint and schema version commit together with the rows. The change
//     of a table may come before them, never after.
//  6. No value changes in silence: a lossy mapping is shown by Plan before it
//     happens.
//  7. SIGTERM drains, SIGKILL at any instant recovers.
//
// # Ownership
//
// Pipeline.Run holds the one errgroup. A lane is the work of one source
// database: it prepares the slot, loads history and follows the log. All
// lanes share one destination; a delivery holds it from the first write to
// the commit.
package engine
