// Package openfiles finds the processes that can still change files below a
// directory without opening them: those that have one open for writing, or mapped
// shared and writable.
//
// A file is below the directory if it is so by the place on its file system, not by
// the name that the process uses: a bind mount, and the mounts of a container, are
// seen through. What /proc does not show is not found: writers behind an NFS server
// or loop device of this kernel, processes outside of this PID namespace, files that
// are on their way between processes in a socket, and descriptors that one thread
// has for itself. A file that is open by a name outside of the directory is found by
// Linked alone. Only a read-only mount (mount -o remount,ro, which fails while there
// is a writer) is proof; this names who is in the way of it.
package openfiles

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A Process has files open for writing.
type Process struct {
	PID     int
	Command string   // name of the program, of at most 15 bytes
	Files   []string // relative to the directory if they have a name below it, else absolute; sorted
	Total   int      // number of them; Files has the first MostFiles
}

// MostFiles are named of one process.
const MostFiles = 20

// Options say where to look.
type Options struct {
	Dir string // the directory
	// OneFileSystem leaves out what is mounted below Dir.
	OneFileSystem bool
	// Linked reports whether a regular file with several names has one below Dir. It is
	// asked only for files that are open by another name. May be nil.
	Linked func(dev, ino uint64) bool
}

// Writers finds them. unseen is the number of processes that could not be looked at,
// for want of permission. One that ends or begins meanwhile may be missed.
func Writers(ctx context.Context, o Options) (found []Process, unseen int, err error) {
	t, err := newTree(o)
	if err != nil {
		return nil, 0, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
		p, seen := t.look(pid)
		if !seen {
			unseen++
		}
		if p.Total > 0 {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b Process) int { return a.PID - b.PID })
	return found, unseen, nil
}

// look finds the files of one process. A process that is gone has none.
func (t *tree) look(pid int) (p Process, seen bool) {
	dir := fmt.Sprintf("/proc/%d", pid)
	l := looker{tree: t, dir: dir, files: map[string]bool{}}
	fdErr, mapErr := l.descriptors(), l.maps()
	p = Process{PID: pid, Total: len(l.files)}
	if p.Total > 0 {
		name, _ := os.ReadFile(dir + "/comm")
		p.Command = strings.TrimSuffix(string(name), "\n")
		for f := range l.files {
			p.Files = append(p.Files, f)
		}
		slices.Sort(p.Files)
		p.Files = p.Files[:min(MostFiles, len(p.Files))]
	}
	return p, !os.IsPermission(fdErr) && !os.IsPermission(mapErr)
}

// A looker gathers the files of one process.
type looker struct {
	*tree
	dir    string
	files  map[string]bool
	mounts mounts // of the process; nil: not read yet
}

// descriptors finds files that are open for writing.
func (l *looker) descriptors() error {
	entries, err := os.ReadDir(l.dir + "/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		link := l.dir + "/fd/" + e.Name()
		name, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(name, "/") {
			continue // a socket or pipe, or closed meanwhile
		}
		writable, mount := l.info(e.Name())
		if writable {
			l.add(link, name, mount)
		}
	}
	return nil
}

// info reads how a descriptor was opened, and the mount by which.
func (l *looker) info(fd string) (writable bool, mount int) {
	data, err := os.ReadFile(l.dir + "/fdinfo/" + fd)
	if err != nil {
		return false, 0
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "flags":
			flags, err := strconv.ParseUint(value, 8, 64)
			mode := flags & syscall.O_ACCMODE
			writable = err == nil && (mode == syscall.O_WRONLY || mode == syscall.O_RDWR)
		case "mnt_id":
			mount, _ = strconv.Atoi(value)
		}
	}
	return writable, mount
}

// maps finds files that are mapped so that they can be written.
func (l *looker) maps() error {
	f, err := os.Open(l.dir + "/maps")
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 64<<10)
	for s.Scan() {
		// 7f0000000000-7f0000001000 rw-s 00000000 08:01 1234    /path
		fields := strings.Fields(s.Text())
		if len(fields) < 6 || len(fields[1]) < 4 || fields[1][1] != 'w' || fields[1][3] != 's' {
			continue
		}
		i := strings.IndexByte(s.Text(), '/')
		if i < 0 {
			continue
		}
		name := strings.ReplaceAll(s.Text()[i:], `\012`, "\n")
		l.add(l.dir+"/map_files/"+fields[0], name, 0)
	}
	return s.Err()
}

const deleted = " (deleted)"

// add notes the file behind a link of /proc, if it is below the directory.
func (l *looker) add(link, name string, mount int) {
	var st syscall.Stat_t
	known := syscall.Stat(link, &st) == nil
	if known && (st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Nlink == 0) {
		return // no file, or one without a name: it changes no tree
	}
	name = strings.TrimSuffix(name, deleted)
	if l.mounts == nil {
		l.mounts = readMounts(l.dir + "/mountinfo")
	}
	if below, ok := l.below(l.mounts.place(name, mount)); ok {
		l.files[below] = true
	} else if known && st.Nlink > 1 && l.linked != nil && l.linked(uint64(st.Dev), st.Ino) {
		l.files[name] = true
	}
}
