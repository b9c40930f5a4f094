// Package pdk is the kit for writing Leat plugins in Go. A plugin is a main
// package that registers one transform or one destination from init and is
// built as a WebAssembly reactor:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags "-s -w" -o plugin.wasm .
//
// # A transform
//
// A transform is a function from a table's schema to a Plan. The plan says
// what the table looks like afterwards and where each column comes from: most
// columns pass through, are cast, or are constant, which the host does by
// itself. Only if the plan asks for computed columns, filters rows or routes
// them does the host call Plan.Process, with the columns that were asked for
// and no others.
//
//	func init() { pdk.RegisterTransform(plan) }
//
//	func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
//		p := pdk.KeepAll(in.Schema)
//		for i, c := range in.Schema.Columns {
//			if c.Name == "email" {
//				p.Rewrite(i, func(dst, v []byte) ([]byte, error) { return append(dst, "***"...), nil })
//			}
//		}
//		return p, nil
//	}
//
//	func main() {}
//
// # Three states
//
// A cell is a value, null, or absent: the source did not send it (an unchanged
// TOAST value, a non-key column of a delete). What is computed from an absent
// cell is absent. MapText, Rewrite and Row.Set* keep that rule by
// themselves; code that reads a View directly asks View.State first.
//
// # Lifetime
//
// Everything that a Batch, View or Row hands out aliases memory that is valid
// until Process or Write returns. Copy what is kept longer. Instances are
// pooled: several run beside each other and any may be discarded between two
// calls, so a transform keeps no state outside its plan's closure and that
// state depends on the plan's input alone.
//
// # Outside WebAssembly
//
// The package compiles natively: views and builders are plain Go, and host
// calls go to the function given to SetHost, so go test needs no sandbox.
package pdk
