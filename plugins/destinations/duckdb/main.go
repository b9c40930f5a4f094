// Command duckdb is the destination plugin for DuckDB files.
package main

import (
	pdk "github.com/leat-etl/leat/pdk/go"
	"github.com/leat-etl/leat/plugins/destinations/internal/relational"
)

func init() { pdk.RegisterDestination(&destination{}) }

func main() {}

// config is what the pipeline file says beside the connection.
type config struct {
	relational.Config
	// Arrays is "list" or "text".
	Arrays string `json:"arrays"`
}

// destination is the embedded one from Open on.
type destination struct{ *relational.Destination }

// Open implements pdk.Destination.
func (d *destination) Open(in *pdk.OpenInput) (*pdk.Info, error) {
	var c config
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	var err error
	d.Destination, err = relational.Open(dialect(c.Arrays != "text"), in.Pipeline, c.Config)
	return &pdk.Info{Driver: "duckdb", Compacts: c.Compacts(), Fills: c.Fills(), Empties: c.Empties(), ChangesApart: true}, err
}
