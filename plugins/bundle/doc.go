// Package bundle knows what a plugin is on disk: a WebAssembly module, the
// manifest plugin.toml beside it, and config.schema.json, the JSON Schema of
// the plugin's settings. A plugin without config.schema.json has no settings.
//
//	name = "mask"
//	version = "0.1.0"
//	kind = "transform"            # or "destination"
//	abi = 1
//	description = "Hide the values of chosen columns."
//	licence = "Apache-2.0"
//	capabilities = []             # what the plugin asks for: "sql", "kv", ...
//	driver = "duckdb"             # only with "sql": the database driver behind it
//
//	[limits]                      # optional; a pipeline may override them
//	memory = "64MB"
//	fuel = 1_000_000_000
//	deadline = "30s"
//
// Plugins that are compiled into leat are found by name, others by path.
package bundle
