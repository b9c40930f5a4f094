package postgres

import "testing"

func TestTimelineEnd(t *testing.T) {
	history := "1\t0/3000148\tno recovery target specified\n\n# a note\n2\t1/AB\tbefore 2026-01-01\n"
	for _, c := range []struct {
		from  uint32
		lsn   uint64
		known bool
	}{{1, 0x3000148, true}, {2, 1<<32 | 0xAB, true}, {3, 0, false}} {
		if lsn, known, err := timelineEnd(history, c.from); lsn != c.lsn || known != c.known || err != nil {
			t.Errorf("timeline %d: %X %v %v", c.from, lsn, known, err)
		}
	}
	if _, _, err := timelineEnd("1\tnowhere", 1); err == nil {
		t.Error("a history without a place passes")
	}
}
