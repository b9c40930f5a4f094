package postgres

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/leat-etl/leat/engine/batch"
)

// MessagesOID stands for the table of logical messages among relations.
const MessagesOID = math.MaxUint32

// messagesVersion is the first version whose pgoutput sends logical messages.
const messagesVersion = 140000

// MessagesTable names the table that the logical messages of a database make.
func MessagesTable(database string) batch.TableID {
	return batch.TableID{Database: database, Schema: "leat", Name: "messages"}
}

// ownPrefix is that of the messages that Leat itself writes: heartbeats and
// captured DDL. They are never handed out.
const ownPrefix = "leat"

// MatchesPrefix says whether a pattern means a message's prefix: by name, or by
// its beginning before a final star.
func MatchesPrefix(pattern, prefix string) bool {
	begin, open := strings.CutSuffix(pattern, "*")
	return prefix == pattern || open && strings.HasPrefix(prefix, begin)
}

// messagesSchema is the shape of the table of messages. A message is told by
// where it stands in the log; xid is NULL for one outside transactions.
func messagesSchema(database string, types *TypeMap) *batch.Schema {
	s := &batch.Schema{Table: MessagesTable(database), OID: MessagesOID, Version: 1, Columns: []batch.Column{
		types.Column("lsn", pgtype.TextOID, -1, false),
		types.Column("xid", pgtype.Int8OID, -1, true),
		types.Column("transactional", pgtype.BoolOID, -1, false),
		types.Column("prefix", pgtype.TextOID, -1, false),
		types.Column("content", pgtype.ByteaOID, -1, false),
	}}
	for i := range s.Columns {
		s.Columns[i].ID = i + 1
	}
	s.Columns[0].Key = 1
	return s
}

// wants says whether messages of a prefix are handed out.
func (s *relationSource) wants(prefix string) bool {
	if prefix == ownPrefix || strings.HasPrefix(prefix, ownPrefix+".") {
		return false
	}
	for _, pattern := range s.messages {
		if MatchesPrefix(pattern, prefix) {
			return true
		}
	}
	return false
}

// message handles a logical message: a row of the table of messages, in its
// place in the transaction. One outside transactions is a transaction by itself
// whose position is the message's own.
func (d *pgoutput) message(ctx context.Context, r *reader) (*commit, error) {
	place := d.nextPlace()
	transactional, lsn := r.uint8()&1 != 0, r.uint64()
	prefix := string(r.text())
	content := r.take(int(int32(r.uint32())))
	if !r.bad && prefix == capturePrefix && transactional && d.source.capture != nil {
		return nil, d.captured(ctx, place, content)
	}
	alone := !transactional && !d.tx.open
	if alone {
		if err := d.landmark.meet(lsn, 0); err != nil {
			return nil, err
		}
	}
	if r.bad || !d.source.wants(prefix) {
		return nil, nil
	}
	if alone {
		d.tx = transaction{open: true, lsn: lsn, time: time.Now().UnixMicro()}
	}
	at, fresh, err := d.next()
	if err != nil {
		return nil, err
	}
	if fresh {
		if err := d.addMessage(at, lsn, transactional, prefix, content); err != nil {
			return nil, err
		}
	}
	if !alone {
		return nil, nil
	}
	d.finish(lsn)
	return &commit{lsn: lsn, end: lsn}, nil
}

func (d *pgoutput) addMessage(at batch.Position, lsn uint64, transactional bool, prefix string, content []byte) error {
	rel := d.relations[MessagesOID]
	if rel == nil {
		types := d.source.types()
		schema := messagesSchema(d.source.database, types)
		if d.source.number != nil {
			if err := d.source.number(schema, 0); err != nil {
				return err
			}
		}
		var err error
		if rel, err = newRelation(MessagesOID, schema, types, false); err != nil {
			return err
		}
		d.relations[MessagesOID] = rel
	}
	size := int64(len(prefix)+len(content)) + rel.width
	d.grow(size+rowOverhead, 1)
	place := batch.FormatLSN(lsn)
	if d.largest > 0 && size > d.largest {
		d.row = append(d.row[:0], cell{tag: cellText, data: []byte(place)})
		for range rel.schema.Columns[1:] {
			d.row = append(d.row, cell{tag: cellNull})
		}
		d.old = d.old[:0]
		d.group.tooLarge(rel, 'I', at, d.tx.time, d.keys(rel), tooLarge{size, d.largest})
		return nil
	}
	b := d.group.builder(rel)
	b.Column(0).AppendBytes([]byte(place))
	if transactional {
		b.Column(1).AppendUint64(uint64(d.tx.xid))
	} else {
		b.Column(1).AppendNull()
	}
	b.Column(2).AppendBool(transactional)
	b.Column(3).AppendBytes([]byte(prefix))
	b.Column(4).AppendBytes(content)
	b.EndRow(batch.Insert, at.LSN, at.Ordinal, d.tx.time)
	return nil
}

// checkMessages says whether a server sends logical messages.
func checkMessages(patterns []string, version int) error {
	if len(patterns) == 0 || version >= messagesVersion {
		return nil
	}
	return &Error{Op: "read messages", Class: Stop, Code: CodePrerequisite,
		Err:    fmt.Errorf("pgoutput of server version %d sends no logical messages", version/10000),
		Causes: []string{"They came with PostgreSQL 14."}, Hint: "Remove messages from [source], or upgrade the server."}
}
