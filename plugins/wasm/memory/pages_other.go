//go:build !linux && !darwin

package memory

// pages lies in the host's heap where there is no mmap. Growing copies.
type pages struct {
	buffer []byte
	most   uint64
}

func reserve(most uint64) *pages { return &pages{most: most} }

func (p *pages) commit(size uint64) []byte {
	if size > p.most {
		return nil
	}
	if size > uint64(len(p.buffer)) {
		bigger := make([]byte, size)
		copy(bigger, p.buffer)
		p.buffer = bigger
	}
	return p.buffer[:size:size]
}

func (p *pages) release() { p.buffer = nil }
