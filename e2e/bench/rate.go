package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

const (
	ratePerSecond = 1000
	rateSlack     = 2 * time.Second
	rateSpans     = 30      // of rest, after the last change: a minute
	rateMost      = 8 << 10 // bytes of a file
)

// rate changes a tree at a fixed pace and measures how long after the last change the copy is equal. A copy that is not
// after a minute, with the program at rest, will not be.
func (b *bench) rate(ctx context.Context, both sides, r *liveResult) error {
	var content, whole [2]time.Duration
	var left [2]difference
	var pace [2]float64
	var served [2]time.Duration
	for i, s := range both {
		total := int(b.liveTime/time.Second) * ratePerSecond
		b.logf("%s: %d changes", s.name, total)
		before, err := familyCPU(b.server.PID())
		if err != nil {
			return err
		}
		begin := time.Now()
		if err := newChurn(s.src, b.tree).run(ctx, total); err != nil {
			return err
		}
		last := time.Now()
		pace[i] = float64(total) / last.Sub(begin).Seconds()
		d, err := b.awaitEqual(ctx, s, last, &content[i], &whole[i])
		if err != nil {
			return err
		}
		left[i] = d
		after, err := familyCPU(b.server.PID())
		if err != nil {
			return err
		}
		served[i] = after - before
		b.logf("%s: %.0f changes a second, content equal after %v, attributes after %v; left: %+v",
			s.name, pace[i], content[i], whole[i], d)
	}
	after := func(name string, t [2]time.Duration, bound string) []string {
		row := []string{name, "never", "never", "", "", bound}
		for i, d := range t {
			if d > 0 {
				row[1+i] = secondsText(d.Seconds())
			}
		}
		return row
	}
	r.title = fmt.Sprintf("%.0f s of %d changes a second", b.liveTime.Seconds(), ratePerSecond)
	r.rows = append(r.rows,
		[]string{"changes a second", fmt.Sprintf("%.0f", pace[0]), fmt.Sprintf("%.0f", pace[1]), "", "", ""},
		after("names and content equal, from the last", content, ""),
		after("all equal, from the last", whole, verdict("≤ 2.00 s", whole[0] > 0 && whole[0] <= rateSlack)),
		counts("differing content a minute later", left[0].content, left[1].content),
		counts("other modes or times a minute later", left[0].attributes, left[1].attributes))
	return r.addProcesses(both, served)
}

// awaitEqual waits until the trees are equal or will not be any more, and returns what is different then.
func (b *bench) awaitEqual(ctx context.Context, s *side, last time.Time, content, whole *time.Duration) (difference, error) {
	var d difference
	resting := time.Time{}
	var cpu time.Duration
	err := s.until(ctx, restLimit, 100*time.Millisecond, func() (done bool, err error) {
		if d, err = compareQuick(s.dst, s.src); err != nil {
			return false, err
		}
		since := time.Since(last)
		if d.content == 0 && *content == 0 {
			*content = since
		}
		if d == (difference{}) {
			*whole = since
			return true, nil
		}
		now, err := treeCPU(s.run.pid())
		if now-cpu > restCPU || now < cpu {
			resting, cpu = time.Now(), now
		}
		return since >= rateSpans*b.span && time.Since(resting) > 5*b.span, err
	})
	if err != nil && !errors.Is(err, errLate) || d == (difference{}) {
		return d, err
	}
	return compare(s.dst, s.src)
}

// difference counts entries that are not equal.
type difference struct {
	content    int // missing, surplus, of another type, size or content
	attributes int // of another mode or time
}

// compareQuick counts the differences of two trees of which the second one does not change. Content is read only if
// nothing else is known to make it different.
func compareQuick(dst, src string) (difference, error) {
	d, files, err := compareNames(dst, src)
	if err == nil && d.content == 0 {
		err = d.read(dst, src, files)
	}
	return d, err
}

// compare counts all differences.
func compare(dst, src string) (difference, error) {
	d, files, err := compareNames(dst, src)
	if err == nil {
		err = d.read(dst, src, files)
	}
	return d, err
}

// read counts the files of different content.
func (d *difference) read(dst, src string, files []string) error {
	for _, rel := range files {
		want, err := os.ReadFile(filepath.Join(src, rel))
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(dst, rel))
		if err != nil || !bytes.Equal(got, want) {
			d.content++
		}
	}
	return nil
}

// compareNames counts the differences that can be seen without reading, and returns the files whose content may be equal.
func compareNames(dst, src string) (d difference, files []string, err error) {
	err = filepath.WalkDir(src, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		want, err := os.Lstat(path)
		if err != nil {
			return err
		}
		got, err := os.Lstat(filepath.Join(dst, rel))
		switch {
		case err != nil || got.Mode().Type() != want.Mode().Type() || !want.IsDir() && got.Size() != want.Size():
			d.content++
		case got.Mode() != want.Mode() || !got.ModTime().Equal(want.ModTime()):
			d.attributes++
			fallthrough
		default:
			if want.Mode().IsRegular() {
				files = append(files, rel)
			}
		}
		return nil
	})
	if err != nil {
		return d, nil, err
	}
	err = filepath.WalkDir(dst, func(path string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went meanwhile
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dst, path)
		if err == nil && !exists(filepath.Join(src, rel)) {
			d.content++
		}
		return err
	})
	return d, files, err
}

// churn changes a tree of files as makeLive makes it. Two of the same tree do the same.
type churn struct {
	root   string
	random *rand.Rand
	files  []string
	least  int // files
	dirs   int
	made   int
	buffer [rateMost]byte
}

func newChurn(root string, files int) *churn {
	c := &churn{root: root, random: rand.New(seed(7)), least: (files + 1) / 2, dirs: (files + perDir - 1) / perDir}
	for i := range files {
		c.files = append(c.files, filepath.Join(treeDir(i/perDir), fmt.Sprintf("file%04d.dat", i%perDir)))
	}
	return c
}

// run makes changes at the fixed pace; what it is late by it makes up for.
func (c *churn) run(ctx context.Context, changes int) error {
	begin := time.Now()
	for i := range changes {
		due := begin.Add(time.Duration(i) * (time.Second / ratePerSecond))
		if wait := time.Until(due); wait > 0 {
			if err := pause(ctx, wait); err != nil {
				return err
			}
		}
		if err := c.change(); err != nil {
			return err
		}
	}
	return nil
}

// change does one of: make, write anew, rename and remove a file. Their number stays about the same.
func (c *churn) change() error {
	at := c.random.IntN(len(c.files))
	switch n := c.random.IntN(100); {
	case n < 28 || len(c.files) <= c.least:
		name := c.newName()
		c.files = append(c.files, name)
		return c.write(name)
	case n < 56:
		return c.write(c.files[at])
	case n < 72:
		from := c.files[at]
		c.files[at] = c.newName()
		return os.Rename(filepath.Join(c.root, from), filepath.Join(c.root, c.files[at]))
	default:
		name := c.files[at]
		c.files[at] = c.files[len(c.files)-1]
		c.files = c.files[:len(c.files)-1]
		return os.Remove(filepath.Join(c.root, name))
	}
}

func (c *churn) newName() string {
	c.made++
	return filepath.Join(treeDir(c.random.IntN(c.dirs)), fmt.Sprintf("made%06d", c.made))
}

func (c *churn) write(name string) error {
	content := c.buffer[:c.random.IntN(rateMost)]
	for i := range content {
		content[i] = byte(c.random.Uint32())
	}
	return os.WriteFile(filepath.Join(c.root, name), content, 0o644)
}
