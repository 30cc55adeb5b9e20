package attr

import (
	"bytes"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The names under which the kernel keeps ACLs.
const (
	accessName  = "system.posix_acl_access"
	defaultName = "system.posix_acl_default"
)

// xattrArgs is the kernel's struct xattr_args on machines of 64 bits.
type xattrArgs struct {
	value unsafe.Pointer
	size  uint32
	flags uint32
}

// calls reports whether the kernel (6.13) has calls that take a directory and a name. A sandbox that does not know them
// yet may answer anything. Without them, the directory's name in /proc leads to the very directory that is open.
var calls = sync.OnceValue(func() bool {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		return false
	}
	_, err := listAt(unix.AT_FDCWD, cstring("/"), nil)
	return err == nil || err == unix.ENOTSUP
})

// cstring returns s as the kernel takes it.
func cstring(s string) []byte { return append([]byte(s), 0) }

// viaProc is the path of an entry for calls that take nothing else.
func viaProc(dir int, name string) string {
	if dir == unix.AT_FDCWD {
		return name
	}
	return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name
}

func pointer(b []byte) unsafe.Pointer {
	if len(b) == 0 {
		return nil
	}
	return unsafe.Pointer(&b[0])
}

// retry repeats what a signal interrupted, which network file systems let happen.
func retry(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != unix.EINTR {
			return n, err
		}
	}
}

// usual is the room, in bytes, that nearly all values and lists of names find enough.
const usual = 512

// sparing calls f with little room in buf, and with all of it only when that is not enough: whatever there is to be
// read, the kernel takes as much memory as it is given room, and clears it. 64 KiB cost a call 5 µs more (Linux 6.18, tmpfs).
func sparing(buf []byte, f func(buf []byte) (int, error)) (int, error) {
	n, err := f(buf[:usual])
	if err == unix.ERANGE {
		return f(buf)
	}
	return n, err
}

func listAt(dir int, name, buf []byte) (int, error) {
	return retry(func() (int, error) {
		n, _, e := unix.Syscall6(unix.SYS_LISTXATTRAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])),
			unix.AT_SYMLINK_NOFOLLOW, uintptr(pointer(buf)), uintptr(len(buf)), 0)
		if e != 0 {
			return 0, e
		}
		return int(n), nil
	})
}

func getAt(dir int, name, attr, buf []byte) (int, error) {
	return valueAt(unix.SYS_GETXATTRAT, dir, name, attr, buf)
}

func setAt(dir int, name, attr, value []byte) error {
	_, err := valueAt(unix.SYS_SETXATTRAT, dir, name, attr, value)
	return err
}

func valueAt(call uintptr, dir int, name, attr, value []byte) (int, error) {
	return retry(func() (int, error) {
		args := xattrArgs{value: pointer(value), size: uint32(len(value))}
		n, _, e := unix.Syscall6(call, uintptr(dir), uintptr(unsafe.Pointer(&name[0])), unix.AT_SYMLINK_NOFOLLOW,
			uintptr(unsafe.Pointer(&attr[0])), uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
		if e != 0 {
			return 0, e
		}
		return int(n), nil
	})
}

func removeAt(dir int, name, attr []byte) error {
	_, err := retry(func() (int, error) {
		_, _, e := unix.Syscall6(unix.SYS_REMOVEXATTRAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])),
			unix.AT_SYMLINK_NOFOLLOW, uintptr(unsafe.Pointer(&attr[0])), 0, 0)
		if e != 0 {
			return 0, e
		}
		return 0, nil
	})
	return err
}

// Get returns the value of one attribute; unix.ENODATA when there is none of that name.
func Get(dir int, name, attr string) ([]byte, error) {
	buf := buffers.Get().(*[MaxValue]byte)
	defer buffers.Put(buf)
	n, err := get(dir, name, attr, buf[:])
	if err != nil {
		return nil, err
	}
	return bytes.Clone(buf[:n]), nil
}

// buffers are large enough for any value: there is no asking for its size beforehand, which may be another by then.
var buffers = sync.Pool{New: func() any { return new([MaxValue]byte) }}

func get(dir int, name, attr string, buf []byte) (int, error) {
	if calls() {
		entry, key := cstring(name), cstring(attr)
		return sparing(buf, func(buf []byte) (int, error) { return getAt(dir, entry, key, buf) })
	}
	path := viaProc(dir, name)
	return sparing(buf, func(buf []byte) (int, error) {
		return retry(func() (int, error) { return unix.Lgetxattr(path, attr, buf) })
	})
}

// Put sets one attribute.
func Put(dir int, name, attr string, value []byte) error {
	if calls() {
		return setAt(dir, cstring(name), cstring(attr), value)
	}
	_, err := retry(func() (int, error) { return 0, unix.Lsetxattr(viaProc(dir, name), attr, value, 0) })
	return err
}

// Remove removes one attribute; unix.ENODATA when there is none of that name.
func Remove(dir int, name, attr string) error {
	if calls() {
		return removeAt(dir, cstring(name), cstring(attr))
	}
	_, err := retry(func() (int, error) { return 0, unix.Lremovexattr(viaProc(dir, name), attr) })
	return err
}

// PutACL sets an access ACL, or a default one; nil removes it. Where there are no ACLs none need to be removed.
func PutACL(dir int, name string, ofDefault bool, a *ACL) error {
	attr := accessName
	if ofDefault {
		attr = defaultName
	}
	if a != nil {
		return Put(dir, name, attr, a.Bytes())
	}
	err := Remove(dir, name, attr)
	if err == unix.ENODATA || err == unix.ENOTSUP {
		return nil
	}
	return err
}
