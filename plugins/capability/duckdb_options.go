package capability

// DuckDBOptions says which file to open and what it may use.
type DuckDBOptions struct {
	// Path of the database file; it is created when it does not exist. Empty
	// opens a private database in memory.
	Path string
	// ReadOnly opens an existing file without the right to change it.
	ReadOnly bool
	// MemoryLimit is an amount such as "2GB"; empty leaves DuckDB's default of
	// 80 % of the machine.
	MemoryLimit string
	// Threads bounds DuckDB's workers; 0 leaves its default of one a core.
	Threads int
	// TempDir is where results larger than MemoryLimit spill; empty is a
	// folder beside the file.
	TempDir string
}
