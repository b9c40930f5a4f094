// Command postgres is the destination plugin for PostgreSQL databases.
package main

import (
	pdk "github.com/leat-etl/leat/pdk/go"
	"github.com/leat-etl/leat/plugins/destinations/internal/relational"
)

func init() { pdk.RegisterDestination(&destination{}) }

func main() {}

// destination is the embedded one from Open on.
type destination struct{ *relational.Destination }

// Open implements pdk.Destination.
func (d *destination) Open(in *pdk.OpenInput) (*pdk.Info, error) {
	var c relational.Config
	if err := in.Config(&c); err != nil {
		return nil, err
	}
	var err error
	if extensions, err = readExtensions(); err != nil {
		return nil, err
	}
	d.Destination, err = relational.Open(dialect, in.Pipeline, c)
	return &pdk.Info{Driver: "postgres", Compacts: c.Compacts(), Fills: c.Fills(), Empties: c.Empties()}, err
}
