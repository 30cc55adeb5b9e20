//go:build amd64 || arm64 || ppc64 || ppc64le || riscv64 || s390x

package scan

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// lstatat reads the entry of the directory fd. The byte behind name must be a NUL: the string goes to the kernel as it
// is, where unix.Fstatat would copy it for every entry.
func lstatat(fd int, name string, st *unix.Stat_t) error {
	for {
		_, _, e := unix.Syscall6(unix.SYS_NEWFSTATAT, uintptr(fd), uintptr(unsafe.Pointer(unsafe.StringData(name))),
			uintptr(unsafe.Pointer(st)), unix.AT_SYMLINK_NOFOLLOW, 0, 0)
		if e == 0 {
			return nil
		}
		if e != unix.EINTR {
			return e
		}
	}
}
