package engine

import "testing"

func TestGroupsOfHotKeysGrow(t *testing.T) {
	g := groupSize(1)
	for i, c := range []struct{ taken, kept, want int }{
		{50_000, 10_000, 2}, {100_000, 10_000, 4}, {200_000, 10_000, 8}, {400_000, 10_000, 8},
		{400_000, 250_000, 8}, {400_000, 399_000, 1}, {0, 0, 1},
	} {
		if got := g.after(c.taken, c.kept); got != c.want {
			t.Errorf("step %d: %d, want %d", i, got, c.want)
		}
	}
}
