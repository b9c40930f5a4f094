// Package install brings plugins onto a machine and into a lock file, and finds
// them again when a pipeline starts.
//
// A plugin comes from a file, a registry or a catalogue. Whatever it came from,
// it is checked (package oci), judged (package trust), its capabilities are
// granted, its bundle is put into the Store, and leat.lock pins it (package
// lock). Find is the other way: it gives an engine the plugin that the lock file
// pins, and nothing that differs from it.
package install
