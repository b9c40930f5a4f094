// Package oci reads and writes a plugin's bundle: one OCI artifact, in one file
// or in a registry. The README of package bundle is the normative text of the
// format.
//
// Everything that is read is hostile until it has been checked: Read and
// Registry.Pull return an Artifact only if its blobs match their digests and
// sizes, its media types, names and counts are known ones, its manifest is
// valid, and its module speaks this leat's ABI and uses exactly the
// capabilities that the manifest declares. Signatures are carried, not judged:
// package trust does that.
package oci
