package treetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// operation changes the tree in one way, and tells what it did, "" when nothing.
type operation struct {
	name string
	do   func(*random) (string, error)
}

// operations has the likely ones more than once.
var operations = []operation{
	{"create", func(r *random) (string, error) { return r.create(), nil }},
	{"create", func(r *random) (string, error) { return r.create(), nil }},
	{"create", func(r *random) (string, error) { return r.create(), nil }},
	{"rewrite", onFile((*random).rewrite)},
	{"rewrite", onFile((*random).rewrite)},
	{"patch", onFile((*random).patch)},
	{"patch", onFile((*random).patch)},
	{"append", onFile((*random).extend)},
	{"truncate", onFile((*random).truncate)},
	{"replace", onFile((*random).replace)},
	{"replace", onFile((*random).replace)},
	{"break hard link", (*random).breakLink},
	{"touch", onAny((*random).touch)},
	{"touch", onAny((*random).touch)},
	{"chmod", onAny((*random).chmod)},
	{"chown", onAny((*random).chown)},
	{"remove", onOther((*random).remove)},
	{"remove", onOther((*random).remove)},
	{"remove tree", onDir((*random).remove)},
	{"rename", onAny((*random).rename)},
	{"rename directory", onDir((*random).rename)},
	{"rename over", onOther((*random).renameOver)},
	{"exchange", onAny((*random).exchange)},
	{"change kind", onAny((*random).changeKind)},
	{"retarget", onOther((*random).retarget)},
}

// Mutate changes the tree at dir n times, by rng only: contents, names, kinds, attributes and links, files, directories
// and whole subtrees. It returns what it did, one line each. The tree's directory itself stays.
func Mutate(t testing.TB, rng *rand.Rand, dir string, n int) []string {
	t.Helper()
	r := newRandom(t, rng, dir)
	for done, tries := 0, 0; done < n; tries++ {
		if tries > 100*n+1000 {
			t.Fatalf("test tree: only %d of %d changes could be made", done, n)
		}
		op := pick(rng, operations)
		what, err := op.do(r)
		check(t, err)
		if what != "" {
			r.log = append(r.log, op.name+" "+quote(what))
			done++
		}
	}
	return r.log
}

func onFile(do func(*random, string) (string, error)) func(*random) (string, error) {
	return onOther(func(r *random, path string) (string, error) {
		st, err := os.Lstat(r.at(path))
		if err != nil || !st.Mode().IsRegular() {
			return "", err
		}
		return do(r, path)
	})
}

func onOther(do func(*random, string) (string, error)) func(*random) (string, error) {
	return func(r *random) (string, error) {
		if len(r.others) == 0 {
			return "", nil
		}
		return do(r, pick(r.rng, r.others))
	}
}

func onDir(do func(*random, string) (string, error)) func(*random) (string, error) {
	return func(r *random) (string, error) {
		if len(r.dirs) < 2 {
			return "", nil
		}
		return do(r, pick(r.rng, r.dirs[1:]))
	}
}

func onAny(do func(*random, string) (string, error)) func(*random) (string, error) {
	return func(r *random) (string, error) {
		if r.rng.IntN(4) == 0 {
			return onDir(do)(r)
		}
		return onOther(do)(r)
	}
}

// edit opens a file for writing, whatever its mode.
func (r *random) edit(path string, change func(f *os.File, size int64) error) (string, error) {
	f, err := os.OpenFile(r.at(path), os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	st, err := f.Stat()
	if err == nil {
		err = change(f, st.Size())
	}
	return path, errors.Join(err, f.Close())
}

// rewrite keeps the size, and often moves the time back, though never to where it was.
func (r *random) rewrite(path string) (string, error) {
	_, err := r.edit(path, func(f *os.File, size int64) error {
		_, err := f.WriteAt(randomBytes(r.rng, max(1, int(size))), 0)
		return err
	})
	if err == nil && r.rng.IntN(2) == 0 {
		return r.touch(path)
	}
	return path, err
}

func (r *random) patch(path string) (string, error) {
	return r.edit(path, func(f *os.File, size int64) error {
		var err error
		for range 1 + r.rng.IntN(3) {
			at := r.rng.Int64N(size + 1)
			_, e := f.WriteAt(randomBytes(r.rng, r.rng.IntN(200)), at)
			err = errors.Join(err, e)
		}
		return err
	})
}

func (r *random) extend(path string) (string, error) {
	return r.edit(path, func(f *os.File, size int64) error {
		_, err := f.WriteAt(randomBytes(r.rng, 1+r.rng.IntN(5000)), size)
		return err
	})
}

func (r *random) truncate(path string) (string, error) {
	return r.edit(path, func(f *os.File, size int64) error { return f.Truncate(r.rng.Int64N(size + 1000)) })
}

// replace is how editors save: another inode takes the name.
func (r *random) replace(path string) (string, error) {
	temp := r.free()
	r.write(File(temp, r.content(), r.attrs(false)...))
	return path, os.Rename(r.at(temp), r.at(path))
}

// breakLink makes a name of a hard-linked file a file of its own, with the same content.
func (r *random) breakLink() (string, error) {
	path, err := r.hardLinked()
	if err != nil || path == "" {
		return "", err
	}
	content, err := os.ReadFile(r.at(path))
	if err != nil {
		return "", err
	}
	temp := r.free()
	r.write(File(temp, string(content), r.attrs(false)...))
	return path, os.Rename(r.at(temp), r.at(path))
}

// hardLinked finds a file of several names. They are rare.
func (r *random) hardLinked() (string, error) {
	for range min(len(r.others), 200) {
		path := pick(r.rng, r.others)
		var st unix.Stat_t
		if err := unix.Lstat(r.at(path), &st); err != nil {
			return "", pathError("stat", path, err)
		}
		if st.Nlink > 1 && st.Mode&unix.S_IFMT == unix.S_IFREG {
			return path, nil
		}
	}
	return "", nil
}

func (r *random) touch(path string) (string, error) {
	var e Entry
	r.mtime()(&e)
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, *e.mtime}
	return path, unix.UtimesNanoAt(unix.AT_FDCWD, r.at(path), times, unix.AT_SYMLINK_NOFOLLOW)
}

func (r *random) chmod(path string) (string, error) {
	st, err := os.Lstat(r.at(path))
	if err != nil || st.Mode()&os.ModeSymlink != 0 {
		return "", err
	}
	return path, unix.Chmod(r.at(path), r.perm(st.IsDir()))
}

func (r *random) chown(path string) (string, error) {
	if !r.root {
		return "", nil
	}
	return path, os.Lchown(r.at(path), int(r.id()), int(r.id()))
}

func (r *random) remove(path string) (string, error) {
	st, err := os.Lstat(r.at(path))
	if err != nil {
		return "", err
	}
	err = os.RemoveAll(r.at(path))
	r.moved(st, path, "")
	return path, err
}

// moved notes that the entry at path is now at to, or gone.
func (r *random) moved(st os.FileInfo, path, to string) {
	if st.IsDir() {
		r.look()
		return
	}
	r.forget(path)
	if to != "" {
		r.others = append(r.others, to)
	}
}

func (r *random) rename(path string) (string, error) {
	to := r.free()
	st, err := os.Lstat(r.at(path))
	if err != nil || strings.HasPrefix(to, path+"/") {
		return "", err
	}
	err = os.Rename(r.at(path), r.at(to))
	r.moved(st, path, to)
	return path + " to " + to, err
}

func (r *random) renameOver(path string) (string, error) {
	if len(r.others) == 0 {
		return "", nil
	}
	to := pick(r.rng, r.others)
	var a, b unix.Stat_t
	err := errors.Join(unix.Lstat(r.at(path), &a), unix.Lstat(r.at(to), &b))
	if err != nil || a.Ino == b.Ino { // renaming over another name of the same inode does nothing
		return "", err
	}
	err = os.Rename(r.at(path), r.at(to))
	r.forget(path)
	return path + " to " + to, err
}

// exchange swaps two entries of any kinds in one step.
func (r *random) exchange(a string) (string, error) {
	b := "."
	switch {
	case len(r.others) == 0 || r.rng.IntN(3) == 0:
		b = pick(r.rng, r.dirs)
	default:
		b = pick(r.rng, r.others)
	}
	if a == b || b == "." || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/") {
		return "", nil
	}
	err := unix.Renameat2(unix.AT_FDCWD, r.at(a), unix.AT_FDCWD, r.at(b), unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) { // the file system cannot
		return "", nil
	}
	r.look()
	return a + " with " + b, err
}

// changeKind puts something else where an entry was.
func (r *random) changeKind(path string) (string, error) {
	st, err := os.Lstat(r.at(path))
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(r.at(path)); err != nil {
		return "", err
	}
	switch k := r.rng.IntN(4); {
	case k == 0 && !st.IsDir():
		r.write(Dir(path, r.attrs(true)...))
		r.write(File(path+"/"+r.name(), r.content(), r.attrs(false)...))
	case k <= 1:
		r.write(Symlink(path, pick(r.rng, r.dirs), r.attrs(false)...))
	case k == 2 && st.Mode().IsRegular():
		r.write(Fifo(path, r.attrs(false)...))
	default:
		r.write(File(path, r.content(), r.attrs(false)...))
	}
	r.look()
	return fmt.Sprintf("%s from %s", path, st.Mode().Type()), nil
}

// retarget gives a symlink another target of the same length.
func (r *random) retarget(path string) (string, error) {
	target, err := os.Readlink(r.at(path))
	if errors.Is(err, unix.EINVAL) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	b := []byte(target)
	b[len(b)-1] = byte('a' + (int(b[len(b)-1])+1+r.rng.IntN(20))%26)
	if string(b) == target {
		return "", nil
	}
	if err := os.Remove(r.at(path)); err != nil {
		return "", err
	}
	r.write(Symlink(path, string(b)))
	return path, nil
}
