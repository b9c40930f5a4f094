package wasm

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"

	"github.com/leat-etl/leat/plugins/wasm/meter"
)

// instrument returns code with metering added. Rewriting takes longer than
// everything else about a module whose machine code is cached, so the result
// is kept beside that. Whoever may write there could plant machine code anyway:
// the sum in front finds what a crash or a full disk has left.
func (h *Host) instrument(code []byte, sum [sha256.Size]byte) ([]byte, error) {
	path := filepath.Join(h.cacheDir, fmt.Sprintf("metered-%s-%d-%x.wasm", meter.Version, tickEvery, sum))
	if h.cacheDir != "" {
		if metered, ok := readSummed(path); ok {
			return metered, nil
		}
	}
	metered, _, err := meter.Instrument(code, meter.Options{TickEvery: tickEvery})
	if err != nil || h.cacheDir == "" {
		return metered, err
	}
	if err := writeSummed(path, metered); err != nil {
		h.log.Debug("metered module not cached", "error", err)
	}
	return metered, nil
}

func readSummed(path string) ([]byte, bool) {
	file, err := os.ReadFile(path)
	if err != nil || len(file) < sha256.Size {
		return nil, false
	}
	sum, data := file[:sha256.Size], file[sha256.Size:]
	is := sha256.Sum256(data)
	return data, bytes.Equal(sum, is[:])
}

// writeSummed replaces the file at once: another process may read it.
func writeSummed(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "metered-*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	sum := sha256.Sum256(data)
	_, err = f.Write(append(sum[:], data...))
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
