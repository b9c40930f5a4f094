// Package wasm is the host of Leat's plugins: it loads core WebAssembly
// modules, gives each call a budget, and speaks the ABI that pdk/README.md
// defines.
//
// # Trust
//
// A module and everything it returns is hostile until checked. Load refuses
// imports that are not granted and instruments every function (package meter)
// so that no guest runs without a check. Results are read from a byte slice by
// readReply and readResult, which copy what they have checked; a guest can
// change its memory at no other time than during a call. What a guest can
// break is its own call: the instance is then thrown away and the error names
// plugin, version, operation, table and position.
//
// # Ownership
//
// A Host owns the runtime and the compile cache. A Transform or Destination
// owns its instances; Close gives them back. An instance runs one call at a
// time. Transform is safe for concurrent use, Destination is not.
package wasm
