// Package pgserver starts throwaway PostgreSQL servers for the tests and for
// `leat demo`.
//
// A server is a child process of the caller: it listens on 127.0.0.1 at a free
// port and on a Unix socket in a private folder, has the superuser postgres
// with a random password, wal_level=logical, and ends with the process that
// started it. initdb runs once for each installed version; its result is kept
// as an archive that every further server unpacks, which takes a fraction of a
// second.
//
// PostgreSQL refuses to run as root. A root process starts it as the user
// postgres, or nobody where there is no postgres, with folders which that user
// can read.
package pgserver
