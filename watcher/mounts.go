package watcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/scan"
)

// mounts follows the mount table, because inotify tells nothing of what is mounted, and of an unmount only when nothing
// else holds the file system: not of the end of a bind mount.
type mounts struct {
	table int    // /proc/self/mountinfo; not an os.File: the runtime's poller would take our notices for itself
	wake  [2]int // a pipe that ends poll
	root  string // where the kernel says the root is
	known map[string]string
}

func openMounts(r *scan.Root) (*mounts, error) {
	dir, err := r.OpenDir(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	// Watches are added by way of /proc, so that without it nothing would work.
	root, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(dir.Fd()))
	if err != nil {
		return nil, fmt.Errorf("watching needs /proc: %w", err)
	}
	m := &mounts{root: root}
	if err := unix.Pipe2(m.wake[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	if m.table, err = unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		m.known, err = m.read()
	}
	if err != nil {
		m.close()
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	return m, nil
}

func (m *mounts) stop() { _, _ = unix.Write(m.wake[1], []byte{0}) }

func (m *mounts) close() {
	unix.Close(m.table)
	unix.Close(m.wake[0])
	unix.Close(m.wake[1])
}

// wait returns when the mount table has changed; false when stopped.
func (m *mounts) wait() bool {
	for {
		fds := []unix.PollFd{
			{Fd: int32(m.table), Events: unix.POLLPRI},
			{Fd: int32(m.wake[0]), Events: unix.POLLIN},
		}
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || fds[1].Revents != 0:
			return false
		case fds[0].Revents != 0:
			return true
		}
	}
}

// read returns what is mounted at and below the root, and above it: path from the root to the mounts' identities.
// Mounts above the root are all called "..".
func (m *mounts) read() (map[string]string, error) {
	if _, err := unix.Seek(m.table, 0, io.SeekStart); err != nil {
		return nil, err
	}
	var text []byte
	for {
		text = slices.Grow(text, 1<<16)
		n, err := unix.Read(m.table, text[len(text):cap(text)])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case n == 0:
			return parseMounts(string(text), m.root)
		default:
			text = text[:len(text)+n]
		}
	}
}

// parseMounts reads mountinfo, proc_pid_mountinfo(5).
func parseMounts(text, root string) (map[string]string, error) {
	all, err := mountinfo.GetMountsFromReader(strings.NewReader(text), nil)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, m := range all {
		if rel, ok := below(root, m.Mountpoint); ok {
			// Mount ID, device and the directory of it that is to be seen. Mounts on top of each other add up.
			found[rel] += fmt.Sprintf("%d %d:%d %q\n", m.ID, m.Major, m.Minor, m.Root)
		}
	}
	return found, nil
}

// below returns where a mount point is, seen from the root; false when it has no part in the tree.
func below(root, point string) (string, bool) {
	inside := strings.TrimSuffix(root, "/") + "/"
	switch {
	case point == root:
		return ".", true
	case strings.HasPrefix(point, inside):
		return point[len(inside):], true
	case strings.HasPrefix(root, strings.TrimSuffix(point, "/")+"/"):
		return "..", true
	}
	return "", false
}

// followMounts looks anew at each directory on which something was mounted or unmounted.
func (w *Watcher) followMounts(ctx context.Context, m *mounts) {
	for m.wait() && ctx.Err() == nil {
		now, err := m.read()
		if err != nil {
			w.cancel(fmt.Errorf("read the mount table: %w", err))
			return
		}
		changed := differences(m.known, now)
		m.known = now
		if len(changed) == 0 {
			continue
		}
		if err := w.config.Root.Same(); errors.Is(err, scan.ErrRootChanged) {
			w.cancel(fmt.Errorf("after a change of mounts: %w", err))
			return
		}
		w.mu.Lock()
		for _, path := range changed {
			w.remounted(path)
		}
		w.mu.Unlock()
	}
}

// differences returns the paths, those above others first.
func differences(a, b map[string]string) (paths []string) {
	for path, mount := range a {
		if b[path] != mount {
			paths = append(paths, path)
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// remounted looks anew at the directory at path.
func (w *Watcher) remounted(path string) {
	if path == "." || path == ".." {
		return // the root is the same still, or Run would have ended
	}
	n := w.root
	names := strings.Split(path, "/")
	for i, name := range names {
		if dir, ok := w.pathOf(n); !ok || w.config.Skip != nil && w.config.Skip(dir, name, true) {
			return
		}
		if i == len(names)-1 {
			break
		}
		if n = n.children[name]; n == nil {
			return // not yet looked at, or not watched: then so is nothing below it
		}
	}
	w.stats.Rescans++
	w.fresh(n, names[len(names)-1])
}
