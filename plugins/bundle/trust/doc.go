// Package trust decides whose plugins may run: a trust store lists publishers
// and their keys, and a bundle is accepted if a signature of it was made with
// a key of its own publisher that counts today.
//
//	mode = "require"              # require (default), warn or off
//
//	[[publishers]]
//	name = "acme"
//
//	[[publishers.keys]]
//	key = """
//	-----BEGIN PUBLIC KEY-----
//	...
//	-----END PUBLIC KEY-----
//	"""
//	valid_from = "2026-01-01"     # optional, the first day in UTC
//	valid_until = "2027-12-31"    # optional, the last day
//	revoked = ""                  # a reason here ends all trust in the key
//
// A publisher changes keys by having two for a while. The days bound when
// plugins may be installed: what the lock file pinned while the key was valid
// goes on running when it has run out. A revoked key stops that too.
package trust
