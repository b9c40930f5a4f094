package wasm

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/leat-etl/leat/plugins/wasm/meter"
)

// planMemory keeps what a module planned from one host to the next, beside the
// compiled code. Equal requests have equal replies (pdk/README.md), so a
// plugin whose plans the host carries out by itself need not be loaded again,
// which is nearly all that its start takes. What is read is checked like the
// reply of a guest, and a guest that is asked again must still say the same.
type planMemory struct {
	path string

	mu      sync.Mutex
	replies map[[sha256.Size]byte][]byte // by the request's digest
	size    int
	called  bool // some plan calls the guest for its rows
}

// Bounds of what is kept of one module. A file that is full begins anew.
const (
	maxRememberedReply = 64 << 10
	maxRemembered      = 1 << 20
)

// rememberedPlan is a line of the file, behind the line's sum.
type rememberedPlan struct {
	Request []byte `json:"request"`
	Reply   []byte `json:"reply"`
	Native  bool   `json:"native"`
}

// remember reads what is known of a module under its limits. Nothing is kept,
// and the result is nil, without a cache folder, of a plugin that may ask the
// host for something, and of one whose settings come from outside the pipeline
// file: its replies may repeat them.
func (m *module) remember(asks bool) *planMemory {
	if m.host.cacheDir == "" || m.plugin.Private || asks {
		return nil
	}
	l := m.plugin.Limits
	key := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %d %d %d", m.plugin.Digest, meter.Version, ABI, l.MemoryBytes, l.Fuel, l.Deadline))
	known := &planMemory{path: filepath.Join(m.host.cacheDir, fmt.Sprintf("plans-%x", key)), replies: map[[sha256.Size]byte][]byte{}}
	file, err := os.ReadFile(known.path)
	if err != nil || len(file) > maxRemembered {
		return known
	}
	for line := range bytes.Lines(file) {
		var p rememberedPlan
		sum, text, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		if sum != sumOf(text) || json.Unmarshal([]byte(text), &p) != nil || len(p.Request) != sha256.Size {
			continue // half a line, where a process ended
		}
		known.replies[[sha256.Size]byte(p.Request)] = p.Reply
		known.called = known.called || !p.Native
	}
	known.size = len(file)
	return known
}

func sumOf(text string) string { return fmt.Sprintf("%016x", xxhash.Sum64String(text)) }

// spares says that the module planned before, within these limits, and never
// asked for rows.
func (k *planMemory) spares() bool { return k != nil && len(k.replies) > 0 && !k.called }

// reply is what the module answered to a request, nil if that is not known.
func (k *planMemory) reply(request []byte) []byte {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.replies[sha256.Sum256(request)]
}

// add keeps a reply. Other processes may write to the file: a line is written
// at once.
func (k *planMemory) add(request []byte, p *Plan) error {
	if k == nil || len(p.reply) > maxRememberedReply {
		return nil
	}
	digest := sha256.Sum256(request)
	text, err := json.Marshal(rememberedPlan{Request: digest[:], Reply: p.reply, Native: p.Native})
	if err != nil {
		return err
	}
	line := fmt.Appendf(nil, "\n%s %s\n", sumOf(string(text)), text) // behind half a line, too
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.size+len(line) > maxRemembered {
		if err := os.Remove(k.path); err != nil && !os.IsNotExist(err) {
			return err
		}
		k.size = 0
	}
	f, err := os.OpenFile(k.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	if closed := f.Close(); err == nil {
		err = closed
	}
	k.size += len(line)
	k.replies[digest] = p.reply
	return err
}
