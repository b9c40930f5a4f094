// Command changes is a destination for the host's tests that says of each batch
// what it is. Build line:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags "-s -w" -o changes.wasm ./plugins/wasm/testdata/changes
package main

import (
	"errors"

	"github.com/leat-etl/leat/pdk/go"
)

type changes struct{}

func init() { pdk.RegisterDestination(changes{}) }

func main() {}

func (changes) Open(*pdk.OpenInput) (*pdk.Info, error) { return &pdk.Info{Driver: "none"}, nil }

func (changes) Plan(*pdk.Schema) (*pdk.TablePlan, error) {
	return &pdk.TablePlan{Table: "t"}, nil
}

func (changes) Write(_ *pdk.TablePlan, b *pdk.WriteBatch) error {
	switch {
	case b.IsChange():
		return errors.New("a change")
	case b.IsTruncate():
		return errors.New("a truncate")
	}
	return errors.New("neither")
}

func (changes) Commit([]pdk.Checkpoint) error         { return nil }
func (changes) Checkpoint() ([]pdk.Checkpoint, error) { return nil, nil }
func (changes) Rollback() error                       { return nil }
func (changes) Close() error                          { return nil }
