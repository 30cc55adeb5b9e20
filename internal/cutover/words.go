package cutover

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/syncd/syncd/internal/printable"
)

// plural is a number with its noun: 1 path, 2 paths.
func plural(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.FormatInt(n, 10) + " " + noun
}

func are(n int64, noun string) string {
	if n == 1 {
		return plural(n, noun) + " is"
	}
	return plural(n, noun) + " are"
}

func could(n int64, noun string) string { return plural(n, noun) + " could" }

// size writes bytes with a binary unit.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", max(n, 0))
	}
	v, unit := float64(n), -1
	for v >= 1023.95 && unit < 5 {
		v /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTPE"[unit])
}

// first names the first of some problems.
func first(all []Problem) string {
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf(", such as %s: %s", all[0].Text, printable.Text(all[0].What))
}

// named is how many names stand in one line.
const named = 5

func pathsText(total int64, paths []Path) string {
	var names []string
	for _, p := range paths[:min(named, len(paths))] {
		names = append(names, p.Text)
	}
	return listed(names, total)
}

// listed joins names, which are the first of total.
func listed(names []string, total int64) string {
	s := strings.Join(names, ", ")
	if more := total - int64(len(names)); more > 0 {
		s = strings.TrimPrefix(fmt.Sprintf("%s and %d more", s, more), " and ")
	}
	return s
}

func writersText(w Writers) string {
	var names []string
	for _, p := range w.Processes[:min(named, len(w.Processes))] {
		names = append(names, fmt.Sprintf("%s (pid %d): %s", printable.Text(p.Command), p.PID, pathsText(int64(len(p.Files)), p.Files)))
	}
	return listed(names, int64(len(w.Processes)))
}
