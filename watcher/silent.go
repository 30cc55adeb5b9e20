package watcher

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/scan"
)

// silent are the file systems that others than this kernel may change, of which it then tells nothing: statfs(2), and
// the words of proc_filesystems(5).
var silent = map[uint32]string{
	unix.NFS_SUPER_MAGIC:   "nfs",
	unix.SMB_SUPER_MAGIC:   "smbfs",
	unix.SMB2_SUPER_MAGIC:  "smb3",
	unix.CIFS_SUPER_MAGIC:  "cifs",
	unix.FUSE_SUPER_MAGIC:  "fuse",
	unix.V9FS_MAGIC:        "9p",
	unix.CEPH_SUPER_MAGIC:  "ceph",
	unix.AFS_SUPER_MAGIC:   "afs",
	unix.AFS_FS_MAGIC:      "afs",
	unix.CODA_SUPER_MAGIC:  "coda",
	unix.OCFS2_SUPER_MAGIC: "ocfs2",
	0x01161970:             "gfs2",
	0x0bd00bd0:             "lustre",
	0x47504653:             "gpfs",
	0x20030528:             "orangefs",
	0x19830326:             "beegfs",
	0x786f4256:             "vboxsf",
	0xbacbacbc:             "vmhgfs",
}

// silentTypes are their names in the mount table, where they are not those of silent. Of fuse there are many, by a dot and
// a word more; fuseblk is none of them: what it has is on a disk of this host, and changes through the mount.
var silentTypes = []string{"nfs4", "fuse.", "virtiofs"}

// Silent returns a sentence that says why events do not tell of all changes below root: of which file system the tree,
// or a part of it, is. It is empty if they do. skip and oneFileSystem are as in Config; what they leave out does not
// count.
func Silent(root *scan.Root, skip func(dir, name string, isDir bool) bool, oneFileSystem bool) (string, error) {
	dir, err := root.OpenDir(".")
	if err != nil {
		return "", err
	}
	defer dir.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(dir.Fd(), &fs); err != nil {
		return "", fmt.Errorf("statfs: %w", err)
	}
	where, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
	if err != nil {
		return "", fmt.Errorf("watching needs /proc: %w", err)
	}
	table, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("read the mount table: %w", err)
	}
	defer table.Close()
	types, err := mountTypes(table, where)
	if err != nil {
		return "", fmt.Errorf("read the mount table: %w", err)
	}
	// Filesystem types as statfs(2) has them are 32 bits, in a word that may have a sign.
	if name, ok := silent[uint32(fs.Type)]; ok && types["."] != "fuseblk" {
		return "it is " + name + ", which does not tell what other hosts or programs change", nil
	}
	if oneFileSystem {
		return "", nil
	}
	var paths []string
	for p, name := range types {
		if p != "." && isSilentType(name) && !skipped(skip, p) {
			paths = append(paths, p)
		}
	}
	if len(paths) == 0 {
		return "", nil
	}
	first := slices.Min(paths)
	return fmt.Sprintf("%s in it is %s, which does not tell what other hosts or programs change", first, types[first]), nil
}

func isSilentType(name string) bool {
	for _, s := range silent {
		if s == name {
			return true
		}
	}
	return slices.ContainsFunc(silentTypes, func(s string) bool { return s == name || strings.HasPrefix(name, s) && s[len(s)-1] == '.' })
}

// mountTypes returns the file system types of what is mounted below root, by path from there; the last mount at a place
// is the one to be seen. What root itself is in is called ".".
func mountTypes(table io.Reader, root string) (map[string]string, error) {
	all, err := mountinfo.GetMountsFromReader(table, nil)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	above := ""
	for _, m := range all {
		switch rel, ok := below(root, m.Mountpoint); {
		case !ok:
		case rel == "." || rel == "..":
			if len(m.Mountpoint) >= len(above) {
				above, found["."] = m.Mountpoint, m.FSType
			}
		default:
			found[rel] = m.FSType
		}
	}
	return found, nil
}

// skipped reports whether the rules leave out the directory at p, or one above it.
func skipped(skip func(dir, name string, isDir bool) bool, p string) bool {
	if skip == nil {
		return false
	}
	for p != "." {
		if skip(filepath.Dir(p), filepath.Base(p), true) {
			return true
		}
		p = filepath.Dir(p)
	}
	return false
}
