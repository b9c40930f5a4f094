package state

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/leat-etl/leat/engine/batch"
)

// FormatVersion is the version of the layouts below. A folder of a newer
// version is refused; a change that an older Leat would misread raises it.
const FormatVersion = 1

// Every key is a keyspace byte followed by fields in order. Numbers are
// big-endian, so byte order is numeric order. A name is its bytes and a zero
// byte: no PostgreSQL identifier and no plugin name contains one. A table is
// three names: database, schema, name.
//
//	m                                   Meta as JSON: format version, pipeline
//	s name(database)                    Source as JSON
//	o table                             Object as JSON
//	c table version:8                   batch.Schema as JSON
//	h table generation:4 seq:4          Chunk as JSON
//	f table lsn:8 ordinal:8 digest:8    Failed without its payload, as JSON
//	p table lsn:8 ordinal:8 digest:8    the payload of that event, raw
//	b table hash:2+n id                 a failed event that blocks a row key:
//	                                    length and bytes of the key's hash,
//	                                    then lsn, ordinal, digest; no value
//	x table lsn:8 ordinal:8 digest:8    GivenUp as JSON: what is left of an event
//	k name(plugin) key                  a plugin's value, raw
//	q name(plugin)                      bytes that the plugin's keys and values
//	                                    take, 8 bytes
//	r started:8                         Run as JSON; started in nanoseconds
const (
	spaceMeta    = 'm'
	spaceSource  = 's'
	spaceObject  = 'o'
	spaceSchema  = 'c'
	spaceChunk   = 'h'
	spaceFailed  = 'f'
	spacePayload = 'p'
	spaceBlocked = 'b'
	spaceSkipped = 'x'
	spaceKV      = 'k'
	spaceKVUsage = 'q'
	spaceRun     = 'r'
)

func nameKey(space byte, name string) []byte {
	key := make([]byte, 0, len(name)+16)
	return append(append(append(key, space), name...), 0)
}

func tableKey(space byte, t batch.TableID) []byte {
	key := make([]byte, 0, len(t.Database)+len(t.Schema)+len(t.Name)+32)
	key = append(key, space)
	for _, name := range []string{t.Database, t.Schema, t.Name} {
		key = append(append(key, name...), 0)
	}
	return key
}

// splitTable reads the table of a key and returns the fields after it.
func splitTable(key []byte) (batch.TableID, []byte, error) {
	part := strings.SplitN(string(key[1:]), "\x00", 4)
	if len(part) != 4 {
		return batch.TableID{}, nil, fmt.Errorf("key %q: table expected", key)
	}
	return batch.TableID{Database: part[0], Schema: part[1], Name: part[2]}, []byte(part[3]), nil
}

func schemaKey(t batch.TableID, version uint64) []byte {
	return binary.BigEndian.AppendUint64(tableKey(spaceSchema, t), version)
}

func chunkPrefix(t batch.TableID, generation int) []byte {
	return binary.BigEndian.AppendUint32(tableKey(spaceChunk, t), uint32(generation))
}

func chunkKey(t batch.TableID, generation, seq int) []byte {
	return binary.BigEndian.AppendUint32(chunkPrefix(t, generation), uint32(seq))
}

// eventID is the identity of a failed event inside its keyspaces.
type eventID struct {
	table                batch.TableID
	lsn, ordinal, digest uint64
}

func (id eventID) appendTo(key []byte) []byte {
	key = binary.BigEndian.AppendUint64(key, id.lsn)
	key = binary.BigEndian.AppendUint64(key, id.ordinal)
	return binary.BigEndian.AppendUint64(key, id.digest)
}

func (id eventID) key(space byte) []byte { return id.appendTo(tableKey(space, id.table)) }

func (id eventID) blockedKey(hash []byte) []byte {
	key := binary.BigEndian.AppendUint16(tableKey(spaceBlocked, id.table), uint16(len(hash)))
	return id.appendTo(append(key, hash...))
}

// blockedHash reads the row key's hash of a blocked key.
func blockedHash(key []byte) ([]byte, error) {
	_, rest, err := splitTable(key)
	if err != nil {
		return nil, err
	}
	if len(rest) < 2 || len(rest) != 2+int(binary.BigEndian.Uint16(rest))+24 {
		return nil, fmt.Errorf("key %q: a hash and an event expected", key)
	}
	return rest[2 : len(rest)-24], nil
}

func kvKey(plugin string, key []byte) []byte { return append(nameKey(spaceKV, plugin), key...) }

func runKey(started int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{spaceRun}, uint64(started))
}

// prefixEnd returns the first key after all keys that start with prefix, nil
// where there is none.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// checkName refuses a name that has no place in a key.
func checkName(what, name string) error {
	if name == "" || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%s %q: want a name without zero bytes", what, name)
	}
	return nil
}

func checkTable(t batch.TableID) error {
	for _, name := range []string{t.Database, t.Schema, t.Name} {
		if err := checkName("table "+t.String(), name); err != nil {
			return err
		}
	}
	return nil
}
