package main

import (
	"fmt"
	"strings"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/transfer"
)

// summary is what stands at the end of the results: with --stats rsync's block,
// with that or -v its two closing lines. What rsync tells of its file list has no
// counterpart here: listing and sending run side by side, in many lists.
func summary(s *transfer.Summary, c *config.Config, n numbers) string {
	var b strings.Builder
	if c.Stats {
		b.WriteString("\n")
		for _, l := range []struct{ label, value string }{
			{"Number of files", n.counts(s.Found)},
			{"Number of created files", n.counts(s.Created)},
			{"Number of deleted files", n.deleted(s)},
			{"Number of regular files transferred", n.int(s.TransferredFiles)},
			{"Total file size", n.int(s.TotalSize) + " bytes"},
			{"Total transferred file size", n.int(s.TransferredSize) + " bytes"},
			{"Literal data", n.int(s.Literal) + " bytes"},
			{"Matched data", n.int(s.Matched) + " bytes"},
			{"Total bytes sent", n.int(s.Sent)},
			{"Total bytes received", n.int(s.Received)},
		} {
			fmt.Fprintf(&b, "%s: %s\n", l.label, l.value)
		}
	}
	if !c.Stats && c.Verbose == 0 {
		return b.String()
	}
	moved := float64(s.Sent + s.Received)
	dry := ""
	if c.Session.DryRun {
		dry = " (DRY RUN)"
	}
	fmt.Fprintf(&b, "\nsent %s bytes  received %s bytes  %s bytes/sec\n", n.int(s.Sent), n.int(s.Received),
		n.float(moved/max(s.Elapsed.Seconds(), 0.001)))
	fmt.Fprintf(&b, "total size is %s  speedup is %s%s\n",
		n.int(s.TotalSize), n.float(float64(s.TotalSize)/max(moved, 1)), dry)
	return b.String()
}

// counts writes a total and, as rsync does, the types that are there.
func (n numbers) counts(c transfer.ByType) string {
	var parts []string
	for _, p := range []struct {
		name string
		n    int64
	}{{"reg", c.Regular}, {"dir", c.Dirs}, {"link", c.Symlinks}, {"dev", c.Devices}, {"special", c.Specials}} {
		if p.n > 0 {
			parts = append(parts, p.name+": "+n.int(p.n))
		}
	}
	if parts == nil {
		return n.int(c.All())
	}
	return n.int(c.All()) + " (" + strings.Join(parts, ", ") + ")"
}

// deleted is like counts. What is deleted is known by name alone, so that only
// directories are told from the rest.
func (n numbers) deleted(s *transfer.Summary) string {
	if s.DeletedDirs == 0 {
		return n.int(s.Deleted)
	}
	return n.int(s.Deleted) + " (dir: " + n.int(s.DeletedDirs) + ")"
}
