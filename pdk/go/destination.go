package pdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Destination decides how batches land: names, types, DDL, load mode and merge
// statements. The host calls one method at a time on one instance; the
// database's transaction is the instance's to open and end.
//
// The order is Open, then any number of Plan, Write, Commit, Rollback and
// Checkpoint, then Close. Everything written since the last Commit becomes
// durable together with the checkpoint entries of Commit, or not at all. After
// an error the host calls Rollback before anything else.
type Destination interface {
	// Open is called once before anything else.
	Open(*OpenInput) (*Info, error)
	// Plan decides how a table lands. It writes nothing.
	Plan(*Schema) (*TablePlan, error)
	// Write brings the rows of a batch into the current transaction and opens
	// it if there is none. p is what Plan returned for the batch's schema.
	Write(p *TablePlan, b *WriteBatch) error
	// Commit stores the checkpoint entries in the current transaction, opening
	// one if there is none, and commits it.
	Commit(entries []Checkpoint) error
	// Checkpoint reads back the entries that Commit stored.
	Checkpoint() ([]Checkpoint, error)
	// Rollback takes back what was written since the last Commit. It succeeds
	// if there is nothing to take back.
	Rollback() error
	// Close is called once after everything else.
	Close() error
}

// OpenInput is what a destination opens with.
type OpenInput struct {
	// Pipeline is the name of the pipeline, the scope of its checkpoints.
	Pipeline string `json:"pipeline"`
	// RawConfig is the plugin's configuration as the pipeline gives it.
	RawConfig json.RawMessage `json:"config"`
}

// Config decodes the plugin's configuration into v. An unknown key is an
// error.
func (in *OpenInput) Config(v any) error { return DecodeConfig(in.RawConfig, v) }

// Info tells the host what a destination is.
type Info struct {
	// Driver is the SQL dialect that the destination writes.
	Driver string `json:"driver"`
	// Compacts says that rows of one key in one batch may be merged into the
	// last state before Write: the destination keeps no history.
	Compacts bool `json:"compacts"`
	// Fills says that absent cells are to be filled from earlier rows of the
	// batch before Write: the destination keeps every state of a row.
	Fills bool `json:"fills,omitempty"`
	// ChangesApart says that a table cannot be changed in a transaction with
	// rows: the host then has all changes of a delivery made before its rows.
	ChangesApart bool `json:"changes_apart,omitempty"`
	// Empties says that a TRUNCATE takes back the rows of a table: a load that
	// was interrupted may then begin anew, and a large table without a key need
	// not be one transaction.
	Empties bool `json:"empties,omitempty"`
}

// TablePlan says how a table lands.
type TablePlan struct {
	// Table is the target as it stands in SQL: quoted and qualified.
	Table   string         `json:"table"`
	Columns []TargetColumn `json:"columns"`
	// Statements are the DDL that the first Write of this plan would run.
	Statements []string `json:"statements"`
	// Reload says why the statements alone leave rows of the table without the
	// values that they have at the source, so that it has to be loaded again;
	// empty if they do not.
	Reload string `json:"reload,omitempty"`
	// Read is a SELECT of the live rows with the source's columns in their
	// order, for verification.
	Read string `json:"read"`
	// State is the plugin's own and stays in the guest.
	State any `json:"-"`
}

// TargetColumn is a column of the target table. Source is the source column's
// name, empty for what the destination adds by itself. Losses name what the
// target type cannot hold.
type TargetColumn struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Source string   `json:"source,omitempty"`
	Losses []string `json:"losses,omitempty"`
}

// WriteBatch is the batch of one Write: a handle for Ingest and what SQL needs
// to know of the rows. It is valid until Write returns.
type WriteBatch struct {
	Handle uint32 `json:"handle"`
	Rows   int    `json:"rows"`
	// Ops counts the rows by operation: "I", "U", "D", "R", "K" and "T".
	Ops map[string]int `json:"ops"`
	// Absent are the columns with at least one absent cell in rows other than
	// deletes and old keys.
	Absent []int `json:"absent"`
	// Position is reached with this batch, in Leat's text form. A batch
	// without rows has one only where the table came to its shape there.
	Position string `json:"position"`
}

// IsChange says whether the batch has no rows but the place in the log where the
// table came to its shape: the rows before it have been written.
func (b *WriteBatch) IsChange() bool { return b.Rows == 0 && !strings.HasPrefix(b.Position, "0:0/0+") }

// IsTruncate says whether the batch is a TRUNCATE of its table.
func (b *WriteBatch) IsTruncate() bool { return b.Ops["T"] > 0 }

// Has says whether a row of the batch has one of the operations in ops.
func (b *WriteBatch) Has(ops string) bool {
	for _, op := range ops {
		if b.Ops[string(op)] > 0 {
			return true
		}
	}
	return false
}

// Checkpoint is an entry that a destination keeps beside its rows. In Commit a
// nil Value removes the entry.
type Checkpoint struct {
	Key   string  `json:"key"`
	Value *string `json:"value"`
}

// destination is the registered implementation, with its plans by the host's
// number.
var destination struct {
	impl  Destination
	plans map[uint32]*TablePlan
}

// RegisterDestination makes the plugin a destination. Call it once, from init.
func RegisterDestination(d Destination) {
	if transform.plan != nil || destination.impl != nil {
		panic("pdk: a plugin registers one transform or one destination, once")
	}
	destination.impl, destination.plans = d, map[uint32]*TablePlan{}
}

var errNotDestination = errors.New("this plugin is not a destination")

func planDestination(r *planRequest) (*TablePlan, error) {
	if destination.impl == nil {
		return nil, errNotDestination
	}
	p, err := destination.impl.Plan(r.Schema)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, errors.New("the plugin returned no plan")
	}
	destination.plans[r.Plan] = p
	return p, nil
}

// handlePlan answers leat_plan for either kind.
func handlePlan(request []byte) []byte {
	return answer(request, func(r *planRequest) (any, error) {
		if r.ABI != ABI {
			return nil, fmt.Errorf("the host speaks ABI %d, this plugin %d", r.ABI, ABI)
		}
		if r.Kind == "destination" {
			return planDestination(r)
		}
		return planTransform(r)
	})
}

type openRequest struct {
	ABI int `json:"abi"`
	OpenInput
}

func handleOpen(request []byte) []byte {
	return answer(request, func(r *openRequest) (any, error) {
		if destination.impl == nil {
			return nil, errNotDestination
		}
		info, err := destination.impl.Open(&r.OpenInput)
		if err == nil && info == nil {
			info = &Info{}
		}
		return info, err
	})
}

type writeRequest struct {
	Plan  uint32     `json:"plan"`
	Batch WriteBatch `json:"batch"`
}

func handleWrite(request []byte) []byte {
	return answer(request, func(r *writeRequest) (any, error) {
		if destination.impl == nil {
			return nil, errNotDestination
		}
		p := destination.plans[r.Plan]
		if p == nil {
			return nil, fmt.Errorf("no plan has number %d", r.Plan)
		}
		return nil, destination.impl.Write(p, &r.Batch)
	})
}

type checkpoints struct {
	Entries []Checkpoint `json:"entries"`
}

func handleCommit(request []byte) []byte {
	return answer(request, func(r *checkpoints) (any, error) {
		if destination.impl == nil {
			return nil, errNotDestination
		}
		return nil, destination.impl.Commit(r.Entries)
	})
}

func handleCheckpoint(request []byte) []byte {
	return answer(request, func(*struct{}) (any, error) {
		if destination.impl == nil {
			return nil, errNotDestination
		}
		entries, err := destination.impl.Checkpoint()
		if entries == nil {
			entries = []Checkpoint{}
		}
		return checkpoints{entries}, err
	})
}

func handleRollback(request []byte) []byte {
	return answer(request, func(*struct{}) (any, error) {
		if destination.impl == nil {
			return nil, errNotDestination
		}
		return nil, destination.impl.Rollback()
	})
}

func handleClose(request []byte) []byte {
	return answer(request, func(*struct{}) (any, error) {
		if destination.impl == nil {
			return nil, nil
		}
		return nil, destination.impl.Close()
	})
}
