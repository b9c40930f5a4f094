package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/leat-etl/leat/engine"
)

// showProgress prints what the pipelines do: on a terminal a block that is
// drawn anew, elsewhere a line now and then when something has changed.
func (p *program) showProgress(ctx context.Context, pipelines []*engine.Pipeline) error {
	every := 5 * time.Second
	display, terminal := p.err.(*screen)
	if terminal {
		every = 500 * time.Millisecond
		defer display.leave()
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	views := make([]progressView, len(pipelines))
	for stopping := false; !stopping; {
		select {
		case <-ctx.Done():
			stopping = true
		case <-tick.C:
		}
		var text strings.Builder
		var err error
		for i, pipeline := range pipelines {
			err = errors.Join(err, views[i].print(&text, pipeline, terminal, stopping))
		}
		if err != nil {
			return err
		}
		if terminal {
			err = display.show(text.String())
		} else {
			_, err = io.WriteString(p.err, text.String())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// progressView remembers what it showed last, for rates.
type progressView struct {
	at       time.Time
	rows     int64
	printed  string
	setAside int64     // rows that are set aside
	counted  time.Time // when they were counted
}

// countEvery is how often rows that are set aside are counted, which reads them all.
const countEvery = 4 * time.Second

// print shows a pipeline. An error that ends the run is said behind the last view.
func (v *progressView) print(w *strings.Builder, pipeline *engine.Pipeline, terminal, last bool) (err error) {
	s := pipeline.Status()
	slices.SortFunc(s.Tables, func(a, b engine.TableProgress) int { return strings.Compare(a.Table.String(), b.Table.String()) })
	slices.SortFunc(s.Databases, func(a, b engine.DatabaseProgress) int { return strings.Compare(a.Database, b.Database) })
	var rows, read, toRead int64
	loadRate := 0.0
	loading := false
	for _, t := range s.Tables {
		rows += t.Changes() + t.Loaded
		if t.LoadTotal > t.LoadChunks {
			loading = true
		}
		read, toRead, loadRate = read+t.LoadBytes, toRead+t.LoadBytesTotal, loadRate+t.LoadRate
	}
	now := time.Now()
	rate := 0.0
	if !v.at.IsZero() {
		rate = float64(rows-v.rows) / now.Sub(v.at).Seconds()
	}
	v.at, v.rows = now, rows
	if last || now.Sub(v.counted) >= countEvery {
		if v.setAside, err = pipeline.FailedCount(); err != nil {
			return err
		}
		v.counted = now
	}
	var line strings.Builder
	for _, d := range s.Databases {
		fmt.Fprintf(&line, "%s %s%s", d.Database, d.Phase, place(d))
		if d.Error != "" && !last {
			fmt.Fprintf(&line, " (%s)", short(d.Error))
		}
		line.WriteString("; ")
	}
	if !terminal {
		text := fmt.Sprintf("%s: %s%s", pipeline.Spec.Name, line.String(), counted(rows, "row"))
		if loading && toRead > 0 {
			text += fmt.Sprintf(", historical load %s of %s", size(read), size(toRead))
		}
		if s.Destination != "" {
			text += ", destination: " + s.Destination
		}
		if v.setAside > 0 {
			text += fmt.Sprintf(", %d set aside (leat failed list %s)", v.setAside, pipeline.Spec.Path)
		}
		if text == v.printed {
			return nil
		}
		v.printed = text
		fmt.Fprintf(w, "%s, %.0f rows/s\n", text, rate)
		return nil
	}
	fmt.Fprintf(w, "%s  %s, %.0f rows/s", pipeline.Spec.Name, counted(rows, "row"), rate)
	if v.setAside > 0 {
		fmt.Fprintf(w, ", %d set aside (leat failed list %s)", v.setAside, pipeline.Spec.Path)
	}
	w.WriteString("\n")
	if s.Destination != "" {
		fmt.Fprintf(w, "  destination: %s\n", s.Destination)
	}
	if loading {
		fmt.Fprintf(w, "  historical load %s %s %s\n", bar(read, toRead), size(int64(loadRate))+"/s", left(toRead-read, loadRate))
	}
	for _, d := range s.Databases {
		fmt.Fprintf(w, "  %-20s %-10s%s\n", d.Database, d.Phase, place(d))
		if d.Error != "" && !last {
			fmt.Fprintf(w, "    %s\n", short(d.Error))
		}
	}
	for _, t := range s.Tables {
		fmt.Fprintf(w, "  %-40s", t.Table)
		if t.LoadTotal > t.LoadChunks {
			fmt.Fprintf(w, " loading %s\n", loadText(t))
			continue
		}
		fmt.Fprintf(w, " loaded %d, +%d ~%d -%d, last %s\n", t.Loaded, t.Inserts, t.Updates, t.Deletes, t.Position)
	}
	return nil
}

// loadText is how far the load of a table is. A table that was never analyzed has
// no estimate of its rows.
func loadText(t engine.TableProgress) string {
	about := ""
	if t.LoadEstimate > t.Loaded {
		about = fmt.Sprintf(" of about %d", t.LoadEstimate)
	}
	return strings.TrimSpace(fmt.Sprintf("%d%s rows, %s of %s %s", t.Loaded, about, size(t.LoadBytes), size(t.LoadBytesTotal), left(t.LoadBytesTotal-t.LoadBytes, t.LoadRate)))
}

// place is how far a database is, nothing before its first position is known.
func place(d engine.DatabaseProgress) string {
	if d.Durable.IsZero() {
		return ""
	}
	return fmt.Sprintf(" at %s, %s behind", d.Durable, size(d.LagBytes))
}

func bar(done, total int64) string {
	const width = 30
	n := 0
	if total > 0 {
		n = int(min(width, width*done/total))
	}
	return "[" + strings.Repeat("#", n) + strings.Repeat("-", width-n) + "]"
}

func left(bytes int64, rate float64) string {
	if bytes <= 0 || rate < 1 {
		return ""
	}
	return "about " + (time.Duration(float64(bytes)/rate) * time.Second).Round(time.Second).String() + " left"
}

// size prints bytes for people.
func size(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	v := float64(n)
	i := 0
	for v >= 1000 && i < len(units)-1 {
		v /= 1000
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
