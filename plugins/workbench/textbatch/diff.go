package textbatch

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Diff shows how two tables differ, empty if they do not: lines of want that
// are missing begin with -, those of got that are too many with +. Under a
// changed row the cells that differ are marked.
func Diff(want, got *Grid) string {
	w := widths(want, got)
	a, b := want.lines(w), got.lines(w)
	if slices.Equal(a, b) {
		return ""
	}
	var s strings.Builder
	line := func(mark, text string) { s.WriteString(mark + " " + text + "\n") }
	edits := align(a, b)
	for k, e := range edits {
		switch {
		case e.a >= 0 && e.b >= 0:
			line(" ", a[e.a])
		case e.a >= 0:
			line("-", a[e.a])
		default:
			line("+", b[e.b])
			if k > 0 && edits[k-1].b < 0 && edits[k-1].a > 0 && e.b > 0 {
				if marks := marksOf(want.Rows[edits[k-1].a-1], got.Rows[e.b-1], w); marks != "" {
					line(" ", marks)
				}
			}
		}
	}
	return s.String()
}

// edit is a line of a, of b, or, with both, one that they share.
type edit struct{ a, b int }

// align pairs the lines of two texts by their longest common subsequence. A
// run of removed lines alternates with the added ones that replace it.
func align(a, b []string) []edit {
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			common[i][j] = max(common[i+1][j], common[i][j+1])
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	var out []edit
	var gone, new []int
	flush := func() {
		for k := range max(len(gone), len(new)) {
			if k < len(gone) {
				out = append(out, edit{gone[k], -1})
			}
			if k < len(new) {
				out = append(out, edit{-1, new[k]})
			}
		}
		gone, new = nil, nil
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			flush()
			out = append(out, edit{i, j})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			gone = append(gone, i)
			i++
		default:
			new = append(new, j)
			j++
		}
	}
	flush()
	return out
}

// marksOf underlines the cells in which two rows differ, empty if they have
// different columns or no cell in common.
func marksOf(a, b []string, widths []int) string {
	if len(a) != len(b) {
		return ""
	}
	var s strings.Builder
	same := 0
	for i := range a {
		mark := " "
		if a[i] != b[i] {
			mark = "^"
		} else {
			same++
		}
		n := max(utf8.RuneCountInString(a[i]), utf8.RuneCountInString(b[i]))
		s.WriteString(strings.Repeat(mark, n) + strings.Repeat(" ", max(0, widths[i]-n)+3))
	}
	if same == 0 {
		return ""
	}
	return strings.TrimRight(s.String(), " ")
}
