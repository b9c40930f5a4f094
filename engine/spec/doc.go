// Package spec reads a pipeline file: TOML into a validated Spec. Every key is
// defined once, by a field of Spec and its tags (package strict); the JSON
// Schema that editors complete with and the reference text come from there.
//
// Parse reports all faults of a file together, each with file, line and
// column. Secrets are read from the environment or from files only when they
// are revealed, and print as [secret].
package spec
