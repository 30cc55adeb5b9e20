package flist

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

const (
	// maxPath is the longest path or symlink target in bytes that Linux servers take (protocol 6.1).
	maxPath = 4095
	maxNsec = 999_999_999

	// What fits into the device number of protocol 27 (protocol 6.4): 32 bits, of which servers take the highest for
	// a sign and then fail to make the device (found with rsync 3.5.0, stock clients included).
	maxMajor27 = 0xfff
	maxMinor27 = 0x7ffff
)

// Validate reports why an entry cannot be sent at a protocol, nil if it can. What it refuses would at best be
// misunderstood by the server and at worst end the session for all other entries.
func Validate(e *Entry, protocol int) error {
	if err := checkPath(e.Path); err != nil {
		return fmt.Errorf("path %q: %w", e.Path, err)
	}
	if err := checkAttributes(e, protocol); err != nil {
		return fmt.Errorf("%q: %w", e.Path, err)
	}
	return nil
}

// Check is Validate with what the options add: types that the session does not transfer, and missing checksums.
func (o Options) Check(e *Entry) error {
	if err := Validate(e, o.Protocol); err != nil {
		return err
	}
	var what string
	switch {
	case e.isSymlink() && !o.Links:
		what = "symlinks are not transferred"
	case e.isDevice() && !o.Devices:
		what = "devices are not transferred"
	case e.isSpecial() && !o.Specials:
		what = "special files are not transferred"
	case e.IsRegular() && o.SumLen > 0 && len(e.Sum) != o.SumLen:
		what = fmt.Sprintf("checksum of %d bytes where %d are agreed", len(e.Sum), o.SumLen)
	case e.Attrs != nil:
		return o.checkAttrs(e)
	default:
		return nil
	}
	return fmt.Errorf("%q: %s", e.Path, what)
}

var (
	errPathEmpty = errors.New("empty")
	errPathLong  = fmt.Errorf("longer than %d bytes", maxPath)
	errPathNUL   = errors.New("contains a NUL byte")
	errPathForm  = errors.New("not a relative path of plain components")
)

func checkPath(p string) error {
	switch {
	case p == "":
		return errPathEmpty
	case len(p) > maxPath:
		return errPathLong
	case strings.IndexByte(p, 0) >= 0:
		return errPathNUL
	case p == ".":
		return nil
	}
	for rest, more := p, true; more; {
		var c string
		c, rest, more = strings.Cut(rest, "/")
		if c == "" || c == "." || c == ".." {
			return errPathForm
		}
	}
	return nil
}

func checkAttributes(e *Entry, protocol int) error {
	switch e.Mode & typeMask {
	case typeReg:
		if e.Size < 0 {
			return fmt.Errorf("size %d", e.Size)
		}
	case typeDir:
		if e.Size < 0 {
			return fmt.Errorf("size %d", e.Size)
		}
		if e.Dir > Implied {
			return fmt.Errorf("unknown kind of directory %d", e.Dir)
		}
		if e.Link != 0 {
			return errors.New("directory in a hard-link group")
		}
	case typeLink:
		if n := len(e.Target); n == 0 || n > maxPath || strings.IndexByte(e.Target, 0) >= 0 {
			return fmt.Errorf("symlink target of %d bytes: want 1 to %d, none of them NUL", n, maxPath)
		}
	case typeBlock, typeChar:
		if err := checkDevice(e, protocol); err != nil {
			return err
		}
	case typeFifo, typeSock:
	default:
		if e.Mode != 0 {
			return fmt.Errorf("unknown file type in mode %#o", e.Mode)
		}
		return checkDeletion(e)
	}
	if e.Path == "." && !e.IsDir() {
		return errors.New("transfer root is not a directory")
	}
	if e.Mode>>16 != 0 {
		return fmt.Errorf("mode %#o has unknown bits", e.Mode)
	}
	if e.Link < 0 {
		return fmt.Errorf("hard-link group %d", e.Link)
	}
	return checkTime(e, protocol)
}

// checkDeletion checks an entry of mode 0, of which only the path counts.
func checkDeletion(e *Entry) error {
	if e.Path == "." {
		return errors.New("transfer root cannot be deleted")
	}
	if e.Link != 0 {
		return errors.New("path to be deleted is in a hard-link group")
	}
	return nil
}

func checkDevice(e *Entry, protocol int) error {
	if protocol < 28 && (e.Major > maxMajor27 || e.Minor > maxMinor27) {
		return fmt.Errorf("device number %d,%d does not fit into protocol %d", e.Major, e.Minor, protocol)
	}
	return nil
}

func checkTime(e *Entry, protocol int) error {
	if e.Nsec < 0 || e.Nsec > maxNsec {
		return fmt.Errorf("%d nanoseconds", e.Nsec)
	}
	if protocol < 30 && (e.Mtime < 0 || e.Mtime > math.MaxUint32) {
		return fmt.Errorf("time %d does not fit into protocol %d", e.Mtime, protocol)
	}
	return nil
}
