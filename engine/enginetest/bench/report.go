package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// measure is one run of one contender.
type measure struct {
	Changes int     `json:"changes"`
	Seconds float64 `json:"seconds"`
	// CPU is the contender's own, in seconds; 0 where it is part of a server.
	CPU          float64 `json:"cpu_seconds"`
	WalsenderCPU float64 `json:"walsender_cpu_seconds"`
	// PeakMB is the most memory of a process of its own.
	PeakMB float64 `json:"peak_mb"`
}

func (m measure) rate() float64 { return float64(m.Changes) / m.Seconds }

// result is a contender's rounds of one workload.
type result struct {
	Workload  string    `json:"workload"`
	Contender string    `json:"contender"`
	Rounds    []measure `json:"rounds"`
	Rate      float64   `json:"rate"` // the median of the rounds, as are the others
	CPU       float64   `json:"cpu_seconds"`
	Walsender float64   `json:"walsender_cpu_seconds"`
	PeakMB    float64   `json:"peak_mb"`
	Ratios    []ratio   `json:"ratios,omitempty"`
	// MemoryTarget is the bound on PeakMB, 0 for none.
	MemoryTarget float64 `json:"memory_target_mb,omitempty"`
}

// ratio compares a contender with its yardstick of the same round.
type ratio struct {
	Of     string    `json:"of"`
	Rounds []float64 `json:"rounds"`
	Ratio  float64   `json:"ratio"`
	Target float64   `json:"target,omitempty"`
	Met    bool      `json:"met"`
}

// cost is a number with a target that is no rate.
type cost struct {
	Workload string  `json:"workload"`
	Name     string  `json:"name"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
	Target   float64 `json:"target"`
	// AtMost says that the target is the most, not the least.
	AtMost bool `json:"at_most"`
	Met    bool `json:"met"`
}

// report is everything that was measured.
type report struct {
	Version  string    `json:"postgres"`
	Settings string    `json:"server_settings"`
	Cores    int       `json:"cores"`
	Scale    float64   `json:"scale"`
	Rounds   int       `json:"rounds"`
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"`
	Results  []*result `json:"results"`
	Costs    []cost    `json:"costs,omitempty"`
}

// atMost and atLeast add a cost.
func (r *report) atMost(workload, name, unit string, value, target float64) {
	r.Costs = append(r.Costs, cost{workload, name, value, unit, target, true, value <= target})
}

func (r *report) atLeast(workload, name, unit string, value, target float64) {
	r.Costs = append(r.Costs, cost{workload, name, value, unit, target, false, value >= target})
}

func newReport(o *options, version string) *report {
	return &report{Version: version, Settings: describeSettings(), Cores: runtime.NumCPU(), Scale: o.scale, Rounds: o.rounds, Started: time.Now()}
}

func (r *report) add(workload, contender string, m measure) {
	found := r.of(workload).find(contender)
	if found == nil {
		found = &result{Workload: workload, Contender: contender}
		r.Results = append(r.Results, found)
	}
	found.Rounds = append(found.Rounds, m)
}

// section is the results of one workload.
type section struct {
	*report
	workload string
}

func (r *report) of(workload string) section { return section{r, workload} }

func (s section) find(contender string) *result {
	for _, x := range s.Results {
		if x.Workload == s.workload && x.Contender == contender {
			return x
		}
	}
	return nil
}

// compare adds a ratio; target 0 is for information. What did not run is left
// out.
func (s section) compare(contender, of string, target float64) {
	mine, yardstick := s.find(contender), s.find(of)
	if mine == nil || yardstick == nil {
		return
	}
	x := ratio{Of: of, Target: target}
	for i := range min(len(mine.Rounds), len(yardstick.Rounds)) {
		x.Rounds = append(x.Rounds, mine.Rounds[i].rate()/yardstick.Rounds[i].rate())
	}
	x.Ratio = median(x.Rounds)
	x.Met = x.Ratio >= target
	mine.Ratios = append(mine.Ratios, x)
}

// bound sets the target for memory.
func (s section) bound(contender string, mb float64) { s.find(contender).MemoryTarget = mb }

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func (r *report) finish() {
	r.Seconds = time.Since(r.Started).Seconds()
	of := func(x *result, value func(measure) float64) float64 {
		var all []float64
		for _, m := range x.Rounds {
			all = append(all, value(m))
		}
		return median(all)
	}
	for _, x := range r.Results {
		x.Rate = of(x, measure.rate)
		x.CPU = of(x, func(m measure) float64 { return m.CPU })
		x.Walsender = of(x, func(m measure) float64 { return m.WalsenderCPU })
		x.PeakMB = of(x, func(m measure) float64 { return m.PeakMB })
	}
}

// verdict is a comparison for people.
func (x ratio) verdict() string {
	switch {
	case x.Target == 0:
		return fmt.Sprintf("%.2f of %s", x.Ratio, x.Of)
	case x.Met:
		return fmt.Sprintf("%.2f of %s (target %.2f: met)", x.Ratio, x.Of, x.Target)
	}
	return fmt.Sprintf("%.2f of %s (target %.2f: MISSED)", x.Ratio, x.Of, x.Target)
}

// print writes the table.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d cores shared by servers and client, Unix sockets; scale %g, medians of %d rounds, %.0f s in all\n",
		r.Version, r.Cores, r.Scale, r.Rounds, r.Seconds)
	if r.Settings != "" {
		fmt.Fprintf(w, "both servers: %s\n", r.Settings)
		fmt.Fprintln(w, "log: from the start of the walsender to the last commit; leat: to the end of the process, its destination closed. Loading programs and plugins is not in it.")
	}
	if len(r.Costs) > 0 {
		fmt.Fprintln(w, "plugins: processor time of one process, contenders in turns; the start of plugins is time on the clock.")
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	workload := ""
	for _, x := range r.Results {
		if x.Workload != workload {
			workload = x.Workload
			fmt.Fprintf(table, "\n%s (%d)\trows/s\tCPU s\twalsender s\tpeak MB\t\n", workload, x.Rounds[0].Changes)
		}
		fmt.Fprintf(table, "%s\t%.0f\t%s\t%s\t%s\t  %s\n", x.Contender, x.Rate, figure(x.CPU, "%.2f"), figure(x.Walsender, "%.2f"), figure(x.PeakMB, "%.0f"), x.verdicts())
	}
	table.Flush()
	r.printCosts(w)
}

func (r *report) printCosts(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	workload := ""
	for _, f := range r.Costs {
		if f.Workload != workload {
			workload = f.Workload
			fmt.Fprintf(table, "\n%s\t\t\n", workload)
		}
		bound, verdict := "least", "met"
		if f.AtMost {
			bound = "most"
		}
		if !f.Met {
			verdict = "MISSED"
		}
		fmt.Fprintf(table, "%s\t%.2f\t  %s (at %s %g: %s)\n", f.Name, f.Value, f.Unit, bound, f.Target, verdict)
	}
	table.Flush()
}

func (x *result) verdicts() string {
	var out []string
	for _, c := range x.Ratios {
		out = append(out, c.verdict())
	}
	if x.MemoryTarget > 0 {
		met := "met"
		if x.PeakMB > x.MemoryTarget {
			met = "MISSED"
		}
		out = append(out, fmt.Sprintf("memory target %.0f MB: %s", x.MemoryTarget, met))
	}
	return strings.Join(out, "; ")
}

// figure leaves out what was not measured.
func figure(v float64, format string) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

func (r *report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
