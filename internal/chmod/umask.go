package chmod

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Umask returns the process's. It is read where that does not set it for a moment, which files made meanwhile would
// show: by kernels from 4.7 on.
func Umask() uint32 {
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		for line := range strings.Lines(string(status)) {
			if v, ok := strings.CutPrefix(line, "Umask:"); ok {
				if n, err := strconv.ParseUint(strings.TrimSpace(v), 8, 32); err == nil {
					return uint32(n)
				}
			}
		}
	}
	now := unix.Umask(0)
	unix.Umask(now)
	return uint32(now)
}
