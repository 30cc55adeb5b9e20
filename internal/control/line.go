package control

import (
	"fmt"
	"strings"

	"github.com/syncd/syncd/internal/printable"
)

// Line is the status in one line, for systemd's STATUS=. It names no ages and no
// rates, so that it stays the same while nothing happens.
func (s *Status) Line() string {
	parts := []string{string(s.State)}
	if s.Reason != "" {
		parts[0] += ": " + printable.Text(s.Reason)
	}
	if p := s.Pass; p != nil && p.FilesTotal > 0 {
		parts = append(parts, fmt.Sprintf("%d %% of %s compared", min(100*p.Files/p.FilesTotal, 100), plural(p.FilesTotal, "file")))
	} else if p != nil {
		parts = append(parts, plural(p.Files, "file")+" compared")
	}
	if paths, bytes := s.Backlog.Sum(); paths > 0 {
		parts = append(parts, fmt.Sprintf("%s waiting (%s)", plural(paths, "path"), size(bytes)))
	} else if s.State == Live {
		parts = append(parts, "nothing waits")
	}
	if s.Held != nil {
		parts = append(parts, plural(s.Held.Paths, "deletion")+" held")
	}
	if s.Failing.Total > 0 {
		parts = append(parts, fmt.Sprintf("%s failing", plural(s.Failing.Total, "path")))
	}
	if s.Watch.Mode == "scan" {
		parts = append(parts, "changes are not watched")
	}
	return strings.Join(parts, "; ")
}
