package watcher

import (
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/scan"
)

func TestMountTypes(t *testing.T) {
	const table = `22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv rw shared:2 master:1 - nfs4 host:/ rw
31 30 0:41 / /srv/data/a\040b rw - fuse.sshfs x rw
32 30 0:42 / /srv/data/c rw - nfs host:/c rw
33 32 8:2 / /srv/data/c rw - xfs /dev/sdb rw
34 30 0:43 / /srv/other rw - cifs //x rw
`
	want := map[string]string{".": "nfs4", "a b": "fuse.sshfs", "c": "xfs"}
	if got, err := mountTypes(strings.NewReader(table), "/srv/data"); err != nil || !maps.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func TestSilentTypes(t *testing.T) {
	for name, want := range map[string]bool{
		"nfs": true, "nfs4": true, "cifs": true, "fuse": true, "fuse.sshfs": true, "9p": true, "virtiofs": true, "ceph": true,
		"fuseblk": false, "ext4": false, "xfs": false, "tmpfs": false, "overlay": false, "nfsd": false, "": false,
	} {
		if isSilentType(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestTreeOnThisHostIsNotSilent(t *testing.T) {
	root, err := scan.OpenRoot(t.TempDir())
	ok(t, err)
	defer root.Close()
	if why, err := Silent(root, nil, false); why != "" || err != nil {
		t.Errorf("%q, %v", why, err)
	}
}

// A tree of which a part is a FUSE file system: nobody has to serve it to be found in the mount table.
func TestSilentMount(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "far", "away")
	ok(t, os.MkdirAll(at, 0o755))
	mountFUSE(t, at)
	root, err := scan.OpenRoot(dir)
	ok(t, err)
	defer root.Close()
	notFar := func(dir, name string, isDir bool) bool { return dir == "." && name == "far" && isDir }
	for _, c := range []struct {
		skip func(dir, name string, isDir bool) bool
		one  bool
		want string
	}{
		{nil, false, "far/away in it is fuse"},
		{notFar, false, ""},
		{nil, true, ""},
	} {
		why, err := Silent(root, c.skip, c.one)
		if err != nil || !strings.HasPrefix(why, c.want) || c.want == "" && why != "" {
			t.Errorf("%q, %v, want %q", why, err, c.want)
		}
	}
}

// mountFUSE mounts a file system at dir that nobody serves, until the test ends.
func mountFUSE(t *testing.T, dir string) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		need.Lacking(t, "no ", "FUSE", ": ", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	options := "fd=" + strconv.Itoa(fd) + ",rootmode=40000,user_id=0,group_id=0"
	if err := unix.Mount("test", dir, "fuse", 0, options); err != nil {
		need.Lacking(t, "no ", "mounts", ": ", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
}
