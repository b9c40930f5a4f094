// Command ledger is a destination for the host's tests. Build line:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags "-s -w" -o ledger.wasm ./plugins/wasm/testdata/ledger
//
// Its config names a way to misbehave: "panic" in write, "loop" in write,
// "keep" the handle of an earlier write, name a "column" that is not there, a
// "storm" of requests, a "long" plan.
package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/leat-etl/leat/pdk/go"
)

type ledger struct {
	config struct {
		Misbehave string `json:"misbehave"`
	}
	open  bool // a transaction
	first *pdk.WriteBatch
	long  string
}

func init() { pdk.RegisterDestination(&ledger{}) }

func main() {}

func (l *ledger) Open(in *pdk.OpenInput) (*pdk.Info, error) {
	if err := in.Config(&l.config); err != nil {
		return nil, err
	}
	pdk.Logf(pdk.LevelInfo, "opened for %s", in.Pipeline)
	return &pdk.Info{Driver: "ledger", Compacts: true}, nil
}

func (l *ledger) Plan(s *pdk.Schema) (*pdk.TablePlan, error) {
	p := &pdk.TablePlan{Table: strconv.Quote(s.Table.Name), Read: "SELECT", Statements: []string{"CREATE " + s.Table.Name}}
	if s.Table.Name == "nowhere" {
		return nil, fmt.Errorf("ledger: no place for %s", s.Table.Name)
	}
	if l.config.Misbehave == "long" {
		if l.long == "" {
			l.long = strings.Repeat("x", 1<<20)
		}
		p.Read = l.long
	}
	for _, c := range s.Columns {
		p.Columns = append(p.Columns, pdk.TargetColumn{Name: c.Name, Type: c.PG.Name, Source: c.Name})
	}
	return p, nil
}

func (l *ledger) begin() error {
	if l.open {
		return nil
	}
	l.open = true
	return pdk.Begin()
}

func (l *ledger) Write(p *pdk.TablePlan, b *pdk.WriteBatch) error {
	if err := l.begin(); err != nil {
		return err
	}
	in := pdk.IngestInput{Table: p.Table, Columns: []pdk.IngestColumn{{Name: "id", Type: "int8", From: pdk.FromColumn}}}
	if l.first == nil {
		kept := *b
		l.first = &kept
	}
	switch l.config.Misbehave {
	case "panic":
		var none []int
		_ = none[len(p.Columns)]
	case "loop":
		for i := 0; ; i++ {
			if i < 0 {
				return nil
			}
		}
	case "storm":
		for {
			pdk.Exec("storm")
		}
	case "keep":
		b = l.first
	case "column":
		in.Columns[0].Column = 99
	}
	n, err := b.Ingest(in)
	if err != nil {
		return fmt.Errorf("write %s: %w", p.Table, err)
	}
	_, err = pdk.Exec(fmt.Sprintf("INSERT %d of %d absent %v at %s", n, b.Rows, b.Absent, b.Position))
	return err
}

func (l *ledger) Commit(entries []pdk.Checkpoint) error {
	if err := l.begin(); err != nil {
		return err
	}
	for _, e := range entries {
		value := "gone"
		if e.Value != nil {
			value = *e.Value
		}
		if _, err := pdk.Exec("SET " + e.Key + " " + value); err != nil {
			return err
		}
	}
	l.open = false
	return pdk.CommitSQL()
}

func (l *ledger) Checkpoint() ([]pdk.Checkpoint, error) {
	rows, err := pdk.Query("SELECT checkpoints")
	if err != nil {
		return nil, err
	}
	var out []pdk.Checkpoint
	for _, r := range rows.Rows {
		out = append(out, pdk.Checkpoint{Key: *r[0], Value: r[1]})
	}
	return out, nil
}

func (l *ledger) Rollback() error {
	l.open = false
	return pdk.RollbackSQL()
}

func (l *ledger) Close() error { return nil }
