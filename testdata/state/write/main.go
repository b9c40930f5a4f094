// Command write makes the state folder of the present format that later
// releases must be able to open:
//
//	go run ./testdata/state/write testdata/state/v1
//
// The folder must not exist. TestGolden in package state says what is in it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/leat-etl/leat/engine/batch"
	"github.com/leat-etl/leat/state"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: write FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "write:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("%s exists", dir)
	}
	s, err := state.Open(dir, state.Options{Pipeline: "shop"})
	if err != nil {
		return err
	}
	if err := s.Update(fill); err != nil {
		return err
	}
	return s.Close()
}

// fill writes a record into every keyspace.
func fill(tx *state.Tx) error {
	orders := batch.TableID{Database: "shop", Schema: "public", Name: "orders"}
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	shape := &batch.Schema{Table: orders, Columns: []batch.Column{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, PG: batch.PGType{Name: "int8", OID: 20, Typmod: -1}, Key: 1},
		{Name: "total", Type: &arrow.Decimal128Type{Precision: 12, Scale: 2}, PG: batch.PGType{Name: "numeric", OID: 1700, Typmod: 786438}, Nullable: true},
	}}
	narrow := &batch.Schema{Table: orders, Columns: shape.Columns[:1]}
	for _, s := range []*batch.Schema{narrow, shape} {
		if _, err := tx.PutSchema(s, 0); err != nil {
			return err
		}
	}
	cause, err := tx.PutFailed(state.Failed{
		Table: orders, Position: batch.Position{Timeline: 1, LSN: 0x16B3748, Ordinal: 3}, Op: "insert", KeyHash: []byte{1, 2, 3},
		Reason: "not a date", Plugin: "dates", Digest: "sha256:00", Payload: []byte("row\x00one"), At: when, Attempts: 1,
	})
	if err != nil {
		return err
	}
	if _, err := tx.PutFailed(state.Failed{
		Table: orders, Position: batch.Position{Timeline: 1, LSN: 0x16B3800, Ordinal: 1}, Op: "update", KeyHash: []byte{1, 2, 3},
		Reason: "waits", WaitsBehind: cause, Payload: []byte("row two"), At: when,
	}); err != nil {
		return err
	}
	chunks := []state.Chunk{
		{Table: orders, Generation: 1, Seq: 0, Payload: json.RawMessage(`{"from":0}`)},
		{Table: orders, Generation: 1, Seq: 1, Payload: json.RawMessage(`{"from":9}`)},
	}
	for _, step := range []func() error{
		func() error {
			return tx.PutSource(state.Source{
				Database: "shop", SystemIdentifier: "7300000000000000001", Slot: "leat_shop", Publication: "leat_shop",
				Durable:      batch.Position{Timeline: 1, LSN: 0x16B3900, Ordinal: batch.EndOfTransaction},
				Acknowledged: batch.Position{Timeline: 1, LSN: 0x16B3800, Ordinal: batch.EndOfTransaction}, IdleAcknowledged: 0x16B3A00,
				Snapshot: "00000003-1", Generation: 1,
			})
		},
		func() error {
			return tx.PutObject(state.Object{Table: orders, State: state.HistoricalLoad, RowsLoaded: 9, BytesLoaded: 90, BytesTotal: 100, Updated: when})
		},
		func() error { return tx.PutChunks(chunks) },
		func() error { return tx.FinishChunk(orders, 1, 0, 9, 90) },
		func() error { return tx.KVPut("dates", []byte("seen"), []byte{0, 1, 2}) },
		func() error {
			return tx.PutRun(state.Run{Started: when, Ended: when.Add(time.Hour), Outcome: "stopped", Rows: 9, Bytes: 90})
		},
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
