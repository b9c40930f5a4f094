// Package golden reads the test cases that lie beside a plugin, tests/*.toml,
// runs them against its module and shows what came out otherwise. Batches are
// written as package textbatch reads them.
package golden
