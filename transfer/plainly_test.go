package transfer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
)

// smallDisk mounts a file system at dir with options that can be changed.
func smallDisk(t *testing.T, dir, options string) (remount func(options string)) {
	t.Helper()
	need.Root(t)
	mount := func(flags uintptr, options string) {
		t.Helper()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
			t.Fatal(err)
		}
	}
	mount(0, options)
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return func(options string) { mount(syscall.MS_REMOUNT, options) }
}

// A server that is asked for acknowledgements stops for ever when it cannot create some of the files. That must cost
// neither what needs no inode nor, once there are some again, more than the back-off of what failed.
func TestWithoutInodesTheRestGoesOn(t *testing.T) {
	small, src := t.TempDir(), t.TempDir()
	remount := smallDisk(t, small, "size=8m,nr_inodes=40")
	for i := range 20 {
		write(t, filepath.Join(src, "d", fmt.Sprint(i)), "x")
	}
	url, dst, _ := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: small}}})
	f := follow(t, src, url, nil)
	settles(t, src, dst)

	burst := []queue.Item{{Path: "d"}}
	for i := range 200 {
		name := fmt.Sprintf("d/new%03d", i)
		write(t, filepath.Join(src, name), "x")
		burst = append(burst, queue.Item{Path: name})
	}
	f.Changed(burst...)
	waitFor(t, func() bool {
		s, err := f.Snapshot(context.Background())
		return err == nil && s.Queue.Failing > 150
	})
	if err := errors.Join(os.Chmod(filepath.Join(src, "d"), 0o700), os.Remove(filepath.Join(src, "d/2"))); err != nil {
		t.Fatal(err)
	}
	f.Changed(queue.Item{Path: "d"}, queue.Item{Path: "d/2"})
	waitFor(t, func() bool {
		fi, err := os.Stat(filepath.Join(dst, "d"))
		return err == nil && fi.Mode().Perm() == 0o700 && !exists(t, filepath.Join(dst, "d/2"))
	})
	remount("size=8m,nr_inodes=1000")
	settles(t, src, dst)
}

// deaf has every session fail for a path, unsent, until it is told otherwise.
type deaf struct {
	destination
	path string
	left int
}

func (d *deaf) Send(ctx context.Context, b *rsync.Batch, o rsync.Options) (*rsync.Report, error) {
	for i := range b.Entries {
		if b.Entries[i].Path == d.path && d.left > 0 {
			d.left--
			r := &rsync.Report{Results: make([]rsync.Result, len(b.Entries)), Complete: true}
			for i := range r.Results {
				r.Results[i] = rsync.Result{State: rsync.Failed, Err: errors.New("no")}
			}
			return r, nil
		}
	}
	return d.destination.Send(ctx, b, o)
}

// What failed is still a change: times and sizes do not tell whether its content is there.
func TestRefusedChangeIsComparedByContent(t *testing.T) {
	src := t.TempDir()
	victim := filepath.Join(src, "victim")
	write(t, victim, "old")
	url, dst, _ := daemon(t, rsynctest.Config{})
	pass(t, src, url, nil)
	fi, err := os.Stat(victim)
	if err != nil {
		t.Fatal(err)
	}
	write(t, victim, "new")
	if err := os.Chtimes(victim, fi.ModTime(), fi.ModTime()); err != nil {
		t.Fatal(err)
	}
	c, _ := config(t, src, url, deleting)
	c.Sessions = 1
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	refuses := &deaf{destination: e.dest, path: "victim", left: 2}
	e.dest = refuses
	following(t, e)
	e.Changed(queue.Item{Path: "victim"})
	waitFor(t, func() bool {
		got, _ := os.ReadFile(filepath.Join(dst, "victim"))
		return string(got) == "new"
	})
}
