package rsync

import (
	"strings"

	"github.com/syncd/syncd/internal/rsync/wire"
)

// serverPrefixes tell a server's words from those of the remote shell.
var serverPrefixes = []string{"rsync: ", "rsync error: ", "ERROR: ", "*** ", "could not make way", "ABORTING",
	"inflate ", "deflate ", "Failed to "}

// hearShell takes a line of a remote shell's stderr, where a server writes its errors since 3.2.3 (1.6). Line breaks in
// names are escaped there.
func (s *Session) hearShell(line string) {
	tag := wire.Info
	for _, p := range serverPrefixes {
		if strings.HasPrefix(line, p) {
			tag = wire.ErrorXfer
			break
		}
	}
	if s.note(remark{tag, line}) != nil {
		s.conn.close() // a server before protocol 31 has failed (8.4)
	}
}
