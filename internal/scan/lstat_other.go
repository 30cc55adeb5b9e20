//go:build !(amd64 || arm64 || ppc64 || ppc64le || riscv64 || s390x)

package scan

import "golang.org/x/sys/unix"

// lstatat reads the entry of the directory fd.
func lstatat(fd int, name string, st *unix.Stat_t) error {
	return ignoringEINTR(func() error { return unix.Fstatat(fd, name, st, unix.AT_SYMLINK_NOFOLLOW) })
}
