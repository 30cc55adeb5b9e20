package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// bounds are what syncd must reach; 0 is no bound.
type bounds struct {
	wall, cpu float64 // ratios syncd/rsync
	seconds   float64 // of wall time
	memory    int64   // bytes
}

var header = []string{"", "syncd", "rsync", "ratio", "spread", "bound"}

// printTable prints the results as a Markdown table with aligned columns.
func printTable(w io.Writer, results []*result) error {
	if len(results) == 0 {
		return nil
	}
	var rows [][]string
	for _, r := range results {
		rows = append(rows, r.rows()...)
	}
	if _, err := fmt.Fprintf(w, "\nMedian of %d runs each, in turns.\n\n", len(results[0].samples[0])); err != nil {
		return err
	}
	return printRows(w, header, rows)
}

// printLive prints what became of programs that follow changes, below the other table if there is one.
func printLive(w io.Writer, results []*liveResult) error {
	if len(results) == 0 {
		return nil
	}
	var rows [][]string
	for _, r := range results {
		rows = append(rows, titleRow(r.title))
		rows = append(rows, r.rows...)
		if r.others > tolerable {
			rows = append(rows, []string{fmt.Sprintf("in doubt: other work took %.0f %%", 100*r.others), "", "", "", "", ""})
		}
	}
	_, err := fmt.Fprintf(w, "\nFollowing changes with %s with `delay = 0` beside it, both running, in turns.\n\n", incumbent)
	if err != nil {
		return err
	}
	return printRows(w, liveHeader, rows)
}

func titleRow(title string) []string {
	row := make([]string, len(header))
	row[0] = "**" + title + "**"
	return row
}

func printRows(w io.Writer, header []string, rows [][]string) error {
	rows = append([][]string{header, nil}, rows...)
	widths := slices.Repeat([]int{3}, len(header)) // the least that Markdown takes
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	rows[1] = make([]string, len(header))
	for i := range header {
		rows[1][i] = strings.Repeat("-", widths[i]-1) + ":"
	}
	rows[1][0] = strings.Repeat("-", widths[0])
	for _, row := range rows {
		line := "|"
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				line += " " + cell + pad + " |"
			} else {
				line += " " + pad + cell + " |"
			}
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// rows are the lines of one scenario, its title first.
func (r *result) rows() [][]string {
	memory := r.row("peak memory", func(s sample) float64 { return float64(s.MaxRSS) }, bytesText, 0)
	if most := r.bounds.memory; most > 0 {
		worst := slices.MaxFunc(r.samples[0], func(a, b sample) int { return int(a.MaxRSS - b.MaxRSS) }).MaxRSS
		memory[len(memory)-1] = verdict("< "+bytesText(float64(most)), worst < most)
	}
	wall := r.row("wall", func(s sample) float64 { return s.Wall.Seconds() }, secondsText, r.bounds.wall)
	if most := r.bounds.seconds; most > 0 {
		slowest := slices.MaxFunc(r.samples[0], func(a, b sample) int { return cmp.Compare(a.Wall, b.Wall) }).Wall.Seconds()
		wall[len(wall)-1] = verdict("≤ "+secondsText(most), slowest <= most)
	}
	return [][]string{
		titleRow(r.title),
		wall,
		r.row("CPU of the sender", func(s sample) float64 { return s.CPU.Seconds() }, secondsText, r.bounds.cpu),
		memory,
		r.row("CPU of the server", func(s sample) float64 { return s.serverCPU.Seconds() }, secondsText, 0),
		wireRow("sent", r.up),
		wireRow("received", r.down),
	}
}

// row is one measure: the median of each program, and of the ratios of the pairs with their extremes.
func (r *result) row(name string, of func(sample) float64, text func(float64) string, bound float64) []string {
	var values [2][]float64
	for i, samples := range r.samples {
		for _, s := range samples {
			values[i] = append(values[i], of(s))
		}
	}
	var ratios []float64
	for i, v := range values[0] {
		if values[1][i] > 0 {
			ratios = append(ratios, v/values[1][i])
		}
	}
	row := []string{name, text(median(values[0])), text(median(values[1])), "", "", ""}
	if len(ratios) == 0 {
		return row
	}
	row[3] = fmt.Sprintf("%.2f", median(ratios))
	if len(ratios) > 1 {
		row[4] = fmt.Sprintf("%.2f-%.2f", slices.Min(ratios), slices.Max(ratios))
	}
	if bound > 0 {
		row[5] = verdict(fmt.Sprintf("≤ %.2f", bound), median(ratios) <= bound)
	}
	return row
}

func wireRow(name string, bytes [2]int64) []string {
	row := []string{name, bytesText(float64(bytes[0])), bytesText(float64(bytes[1])), "", "", ""}
	if bytes[1] > 0 {
		row[3] = fmt.Sprintf("%.2f", float64(bytes[0])/float64(bytes[1]))
	}
	return row
}

func verdict(bound string, reached bool) string {
	if reached {
		return bound + " ok"
	}
	return bound + " MISSED"
}

// median is the middle value, of an even number the mean of the two in the middle; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func secondsText(s float64) string { return fmt.Sprintf("%.2f s", s) }

func bytesText(b float64) string {
	switch {
	case b >= 1<<20:
		return fmt.Sprintf("%.1f MiB", b/(1<<20))
	case b >= 1<<10:
		return fmt.Sprintf("%.1f KiB", b/(1<<10))
	}
	return fmt.Sprintf("%.0f B", b)
}

// tolerable is the share of the processors that others may take before wall times are in doubt. The kernel's own work
// for the runs, such as writing out, is among it.
const tolerable = 0.10

// others is the share of the processors that neither program nor the daemon took during the timed runs.
func others(results []*result) float64 {
	var foreign, wall time.Duration
	for _, r := range results {
		for _, samples := range r.samples {
			for _, s := range samples {
				foreign += max(0, s.machine-s.CPU-s.serverCPU)
				wall += s.Wall
			}
		}
	}
	if wall == 0 {
		return 0
	}
	return foreign.Seconds() / wall.Seconds() / float64(runtime.NumCPU())
}

// printOthers says below the table when the machine was not quiet.
func printOthers(w io.Writer, results []*result) error {
	share := others(results)
	if share <= tolerable {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n**Other work took %.0f %% of the processors meanwhile: wall times are in doubt.**\n", 100*share)
	return err
}

// machine is the line above the table: where and when it was measured.
func machine(ctx context.Context) string {
	version := "rsync"
	if out, err := exec.CommandContext(ctx, "rsync", "--version").Output(); err == nil {
		line, _, _ := bytes.Cut(out, []byte("\n"))
		version = strings.Join(strings.Fields(string(line)), " ")
	}
	kernel := runtime.GOOS
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		kernel += " " + unix.ByteSliceToString(name.Release[:])
	}
	return fmt.Sprintf("Against one %s daemon on loopback; %s, %s; %d CPUs (%s); %s.\n",
		version, kernel, runtime.Version(), runtime.NumCPU(), processor(), time.Now().UTC().Format(time.DateOnly))
}

// processor is the model of the CPU as the kernel names it.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
