//go:build !duckdb_arrow

package capability

import "context"

// OpenDuckDB fails: DuckDB's Arrow interface is not part of this build.
func OpenDuckDB(context.Context, DuckDBOptions) (SQL, error) {
	return nil, &Error{Class: Internal, Message: "this build has no DuckDB", Hint: "build with -tags duckdb_arrow and CGO_ENABLED=1"}
}
