// Package spool keeps an ordered run of records on disk: what a destination
// cannot take now is appended, synced, read in order later and dropped.
//
// A Spool is a log of its own, in a folder of its own. Offsets count the bytes
// of the frames since the spool was made; they only grow, so an offset names
// one record for ever. The owner keeps two of them somewhere safe: how far it
// has consumed, and how far it relies on what was appended. Open tells what is
// there; where that ends before what the owner relies on, or has another ID,
// records are lost, and only the owner knows what that means.
//
// # Durability
//
// Append does not make durable, Sync does. Callers of Sync that come together
// share one fsync. What Sync returned for survives a crash; of what came later
// a crash keeps a beginning, never a record in the middle. After a failed
// write or fsync the spool refuses everything but Close: what is on the disk
// is known again only after Open.
//
// # Format
//
// The folder holds segments, named after the offset at which they begin in 16
// hexadecimal digits, with the ending .spool. Numbers are big-endian.
//
//	segment   magic "LEATSPL\n", format version:4, ID:16, begin:8, crc:4, frame...
//	frame     length:4, crc:4, length bytes of the record
//
// A crc is CRC-32C: in a segment's head over all before it, in a frame over
// the frame's offset (8 bytes) and the record. A record is never empty and
// lies in one segment. A segment is synced before its successor is made, so
// only the last one may be torn: Open cuts it after its last whole frame. A
// damaged frame before the end of an earlier segment is a *DamageError when it
// is read.
//
// # Concurrency
//
// A Spool may be used from many goroutines. A Reader belongs to one, and may
// read what Append has returned for while other goroutines append.
package spool
