package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/attr"
)

// Times of the files lie in the past, where no run can touch them by chance.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 123456789, time.UTC)

// Sizes of small files are log-uniform between these, 19.4 KiB on average.
const (
	smallLeast = 1 << 10
	smallMost  = 88 << 10
	perDir     = 100
)

// seed makes all trees the same in every run of the benchmark.
func seed(b byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{b}) }

// makeSmall makes files of few KiB, 100 to a directory.
func makeSmall(dir string, files int) error {
	source := seed(1)
	random := rand.New(source)
	content := make([]byte, smallMost)
	return makeFiles(dir, files, perDir, func() []byte {
		size := int(smallLeast * math.Exp(random.Float64()*math.Log(float64(smallMost)/smallLeast)))
		source.Read(content[:size])
		return content[:size]
	})
}

// makeEmpty makes empty files, 1000 to a directory.
func makeEmpty(dir string, files int) error {
	return makeFiles(dir, files, 1000, func() []byte { return nil })
}

// makeText copies the regular files of a source tree.
func makeText(dir, from string) error {
	n := 0
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		n++
		return copyFile(filepath.Join(dir, rel), path)
	})
	if err == nil && n == 0 {
		err = fmt.Errorf("%s: no source text there", from)
	}
	return errors.Join(err, ageDirs(dir))
}

// Sizes of photos are log-uniform between these, 308 KiB on average.
const (
	photoLeast = 40 << 10
	photoMost  = 1 << 20
)

// makePhotos makes files like photos: tables that they all have, then what cannot be compressed. Every other one is
// named as one.
func makePhotos(dir string, files int) error {
	source := seed(6)
	random := rand.New(source)
	tables := make([]byte, 600)
	source.Read(tables)
	content := make([]byte, photoMost)
	copy(content, tables)
	n := 0
	err := makeFiles(dir, files, 50, func() []byte {
		size := int(photoLeast * math.Exp(random.Float64()*math.Log(float64(photoMost)/photoLeast)))
		source.Read(content[len(tables):size])
		return content[:size]
	})
	if err != nil {
		return err
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if n++; n%2 == 0 {
			return nil
		}
		return os.Rename(path, path+".jpg")
	})
	return errors.Join(err, ageDirs(dir))
}

// makeAttrs makes files of two names with an extended attribute each, of which every other value is too long for the
// list of files, and every tenth with an ACL. Both names of a file are in one directory.
func makeAttrs(dir string, groups int) error {
	source := seed(7)
	content := make([]byte, 1000)
	err := makeFiles(dir, groups, perDir/2, func() []byte {
		source.Read(content)
		return content
	})
	if err != nil {
		return err
	}
	n := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(path) != ".dat" {
			return err
		}
		n++
		value := fmt.Sprintf("%016x", n)
		if n%2 == 0 {
			value = strings.Repeat(value, 10)
		}
		if err := attr.Put(unix.AT_FDCWD, path, "user.checksum", []byte(value)); err != nil {
			return fmt.Errorf("%s: set an extended attribute: %w", path, err)
		}
		if n%10 == 0 {
			acl := attr.ACL{User: 6, Group: 4, Other: 4, Mask: 4, Names: []attr.ACE{{ID: uint32(n % 7), Perm: 4}}}
			if err := attr.PutACL(unix.AT_FDCWD, path, false, &acl); err != nil {
				return fmt.Errorf("%s: set an ACL: %w", path, err)
			}
		}
		return os.Link(path, path+".link")
	})
	return errors.Join(err, ageDirs(dir))
}

// makeLive makes tiny files for programs that follow what changes among them.
func makeLive(dir string, files, perDir int) error {
	source := seed(5)
	content := make([]byte, 100)
	return makeFiles(dir, files, perDir, func() []byte {
		source.Read(content)
		return content
	})
}

// treeDir is the path of the nth directory of files.
func treeDir(n int) string {
	return filepath.Join(fmt.Sprintf("dir%02d", n/100), fmt.Sprintf("sub%02d", n%100))
}

func makeFiles(dir string, files, perDir int, content func() []byte) error {
	for i := range files {
		parent := filepath.Join(dir, treeDir(i/perDir))
		if i%perDir == 0 {
			if err := os.MkdirAll(parent, 0o755); err != nil {
				return err
			}
		}
		name := filepath.Join(parent, fmt.Sprintf("file%04d.dat", i%perDir))
		if err := os.WriteFile(name, content(), 0o644); err != nil {
			return err
		}
		when := epoch.Add(time.Duration(i) * time.Second)
		if err := os.Chtimes(name, when, when); err != nil {
			return err
		}
	}
	return ageDirs(dir)
}

// ageDirs gives old times to directories. A receiver leaves those alone that differ by less than a second, and so would
// be spared work, and make the copy unequal, where both sides are new.
func ageDirs(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return os.Chtimes(path, epoch, epoch)
	})
}

// makeBig makes one file of random bytes.
func makeBig(name string, size int64) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	// Its WriteTo would be a loop without end.
	if _, err := io.CopyN(f, struct{ io.Reader }{seed(2)}, size); err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Chtimes(name, epoch, epoch), ageDirs(filepath.Dir(name)))
}

const changes = 200

// change overwrites 200 places of the file, spread over it, with 100 other bytes each.
func change(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	random := rand.New(seed(3))
	b := make([]byte, 100)
	for i := range int64(changes) {
		at := size/changes*i + random.Int64N(max(1, size/changes-int64(len(b))))
		if _, err := f.ReadAt(b, at); err != nil {
			return err
		}
		for j := range b {
			b[j] ^= 0xff
		}
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
	}
	later := epoch.Add(time.Hour)
	return errors.Join(f.Close(), os.Chtimes(name, later, later))
}

// copyFile copies content and time.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return errors.Join(out.Close(), os.Chtimes(to, epoch, epoch))
}

// warm reads a tree, so that its names, attributes and content are in memory.
func warm(dir string) error {
	buffer := make([]byte, 1<<20)
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == dir {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, buffer)
		return err
	})
}

// equal returns an error that names the first difference in names, types, modes, sizes, times, extended attributes, ACLs
// and content. Which names are one file is not compared: with syncd those are that one session sends.
func equal(dst, src string) error {
	entries := 0
	var r attr.Reader
	err := filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		entries++
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		return equalEntry(&r, filepath.Join(dst, rel), path)
	})
	if err != nil {
		return err
	}
	return filepath.WalkDir(dst, func(path string, d fs.DirEntry, err error) error {
		entries--
		if err == nil && entries < 0 {
			err = fmt.Errorf("%s: more entries than %s", dst, src)
		}
		return err
	})
}

func equalEntry(r *attr.Reader, dst, src string) error {
	want, err := os.Lstat(src)
	if err != nil {
		return err
	}
	got, err := os.Lstat(dst)
	if err != nil {
		return err
	}
	if got.Mode() != want.Mode() || !got.ModTime().Equal(want.ModTime()) || !want.IsDir() && got.Size() != want.Size() {
		return fmt.Errorf("%s: %v %d %v; want %v %d %v", dst,
			got.Mode(), got.Size(), got.ModTime(), want.Mode(), want.Size(), want.ModTime())
	}
	if err := equalAttrs(r, dst, src, want.Mode()); err != nil || !want.Mode().IsRegular() {
		return err
	}
	return equalContent(dst, src)
}

func equalAttrs(r *attr.Reader, dst, src string, mode fs.FileMode) error {
	kind := uint32(unix.S_IFREG)
	switch {
	case mode.IsDir():
		kind = unix.S_IFDIR
	case mode&fs.ModeSymlink != 0:
		kind = unix.S_IFLNK
	}
	all := attr.Which{Xattrs: true, ACLs: true}
	want, err := r.Read(unix.AT_FDCWD, src, kind, all)
	if err != nil {
		return fmt.Errorf("%s: %w", src, err)
	}
	got, err := r.Read(unix.AT_FDCWD, dst, kind, all)
	if err != nil {
		return fmt.Errorf("%s: %w", dst, err)
	}
	if !got.Equal(want) {
		return fmt.Errorf("%s has other extended attributes or ACLs than %s", dst, src)
	}
	return nil
}

func equalContent(dst, src string) error {
	a, err := os.Open(src)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Open(dst)
	if err != nil {
		return err
	}
	defer b.Close()
	bufA, bufB := make([]byte, 128<<10), make([]byte, 128<<10)
	for {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		if !bytes.Equal(bufA[:n], bufB[:m]) {
			return fmt.Errorf("%s: content differs from %s", dst, src)
		}
		if errA == io.EOF || errA == io.ErrUnexpectedEOF {
			return nil // of the same length: they were equal to here
		}
		if err := errors.Join(errA, errB); err != nil {
			return err
		}
	}
}
