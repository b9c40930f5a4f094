//go:build linux || darwin

package memory

import "golang.org/x/sys/unix"

// pages is a reserved range of addresses whose beginning is committed.
type pages struct {
	reserved  []byte
	committed uint64
}

// reserve sets an address range aside without memory behind it. A range that
// the system refuses has no room: its first commit fails.
func reserve(most uint64) *pages {
	if most == 0 {
		return &pages{}
	}
	b, err := unix.Mmap(-1, 0, int(most), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return &pages{}
	}
	return &pages{reserved: b}
}

// commit makes the first size bytes usable and returns them, or nil. New
// bytes are zero.
func (p *pages) commit(size uint64) []byte {
	if size > uint64(len(p.reserved)) {
		return nil
	}
	if size > p.committed {
		if unix.Mprotect(p.reserved[:size], unix.PROT_READ|unix.PROT_WRITE) != nil {
			return nil
		}
		p.committed = size
	}
	if size == 0 {
		return []byte{}
	}
	return p.reserved[:size:size]
}

// release gives the range back to the system.
func (p *pages) release() {
	if p.reserved != nil {
		// It fails only for a range that is not mapped.
		_ = unix.Munmap(p.reserved)
		p.reserved, p.committed = nil, 0
	}
}
