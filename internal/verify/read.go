package verify

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/syncd/syncd/internal/rsync/delta"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/transfer"
)

// Files of one portion, which one reader takes at a time: so many that handing it over costs nothing beside reading
// it, and so few that at the end all readers have something to do.
const (
	portionFiles = 128
	portionBytes = 4 << 20
)

// A portion is a range of a batch's entries.
type portion struct {
	b        *batch
	from, to int32
}

// portions cuts what is to be read of b into pieces, in the order of the listing.
func (b *batch) portions() []portion {
	var all []portion
	var files int
	var size int64
	from := 0
	cut := func(to int) {
		if files > 0 {
			all = append(all, portion{b, int32(from), int32(to)})
		}
		from, files, size = to, 0, 0
	}
	for i := range b.entries {
		if !b.reads(i) {
			continue
		}
		if files++; files == portionFiles || size+b.entries[i].Size > portionBytes {
			cut(i + 1)
			continue
		}
		size += b.entries[i].Size
	}
	cut(len(b.entries))
	return all
}

// reads reports whether entry i is to be read. Of an empty file there is nothing to read.
func (b *batch) reads(i int) bool { return b.digests(i) && b.entries[i].Size > 0 }

// digests reports whether entry i gets a digest.
func (b *batch) digests(i int) bool { return b.contents && isRegular(b.entries[i].Mode) }

// read takes batches in order and passes them on with the digests of their files. Several run side by side: whoever
// reads the last portion of a batch passes it on.
func (r *run) read(ctx context.Context, portions <-chan portion, done chan<- *batch) error {
	for p := range portions {
		if err := r.readPortion(ctx, p); err != nil {
			return err
		}
		if p.b.unread.Add(-1) > 0 {
			continue
		}
		if err := pass(ctx, done, p.b); err != nil {
			return err
		}
	}
	return nil
}

// readPortion reads the files of a portion.
func (r *run) readPortion(ctx context.Context, p portion) error {
	o := opener{root: r.v.cfg.Root}
	defer o.close()
	for i := p.from; i < p.to; i++ {
		if p.b.reads(int(i)) {
			r.digest(ctx, &o, p.b, int(i))
		}
		if ctx.Err() != nil {
			return context.Cause(ctx) // what was read last may have been cut off
		}
	}
	return nil
}

// An opener opens files, and keeps the directory of the last ones open for the next. It is not to be kept for long: it
// finds the files of a directory that was renamed where they were.
type opener struct {
	root *scan.Root
	up   string    // the directory of the last file; "": there was none
	dir  *scan.Dir // the same; nil: is not open
}

func (o *opener) open(path string) (*scan.File, error) {
	up, _ := scan.Split(path)
	if o.up != up {
		o.close()
		o.up = up
		return o.root.Open(path)
	}
	if o.dir == nil { // for the second file in a row: there may be more
		dir, err := o.root.OpenDir(up)
		if err != nil {
			return o.root.Open(path) // which has the words for what is the matter
		}
		o.dir = dir
	}
	return o.dir.Open(path)
}

func (o *opener) close() {
	if o.dir != nil {
		o.dir.Close()
	}
	o.up, o.dir = "", nil
}

// hand cuts batches into portions for the readers. What has none goes on at once.
func (r *run) hand(ctx context.Context, filled <-chan *batch, portions chan<- portion, done chan<- *batch) error {
	for b := range filled {
		b.digestEmpty(r.terms.sum)
		all := b.portions()
		b.unread.Store(int32(len(all)))
		if len(all) == 0 {
			if err := pass(ctx, done, b); err != nil {
				return err
			}
		}
		for _, p := range all {
			if err := pass(ctx, portions, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// digestEmpty gives the empty files their digests.
func (b *batch) digestEmpty(c delta.Checksum) {
	sum, err := c.List(bytes.NewReader(nil), nil)
	for i := range b.entries {
		if b.digests(i) && b.entries[i].Size == 0 {
			b.entries[i].Sum, b.about[i].failed, b.about[i].read = sum, err, time.Now()
		}
	}
}

// pass sends x, unless ctx ends first.
func pass[T any](ctx context.Context, to chan<- T, x T) error {
	select {
	case to <- x:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// digest gives entry i the digest of its content and the attributes of the version that it is of.
func (r *run) digest(ctx context.Context, o *opener, b *batch, i int) {
	e, a := &b.entries[i], &b.about[i]
	const tries = 2 // at once; what changes longer waits for the next round
	for range tries {
		var err error
		if e.Sum, a.failed = r.digestOnce(ctx, o, b.hash, e.Path, a); a.failed == nil {
			was := *e
			*e = transfer.EntryOf(e.Path, &scan.Entry{Stat: a.stat, Attrs: was.Attrs})
			e.Link, e.Sum = was.Link, was.Sum
			return
		} else if err = a.failed; !errors.Is(err, ErrChanged) {
			break
		}
	}
	if errors.Is(a.failed, fs.ErrNotExist) || errors.Is(a.failed, scan.ErrNotRegular) || errors.Is(a.failed, scan.ErrBusy) {
		a.failed = ErrChanged
	}
	e.Sum = make([]byte, b.hash.Size()) // the list must have one; what comes of it is not looked at
}

// digestOnce reads a file and notes in a which version it was.
func (r *run) digestOnce(ctx context.Context, o *opener, h delta.Hash, path string, a *about) ([]byte, error) {
	f, err := o.open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	before := f.Opened()
	if before != a.stat && r.attrs().Any() {
		return nil, ErrChanged // what is known of its attributes may be of another version
	}
	a.read = time.Now()
	// What has become longer has changed: there is no need to ask the kernel for the end.
	sum, err := r.checksum(h).List(io.LimitReader(r.paced(ctx, f), before.Size), make([]byte, 0, h.Size()))
	if err != nil {
		return nil, err
	}
	if r.v.cfg.afterRead != nil {
		r.v.cfg.afterRead(path)
	}
	after, err := f.Stat()
	if err == nil && after != before {
		err = ErrChanged
	}
	if err == nil {
		a.stat = after
	}
	return sum, err
}

func (r *run) checksum(h delta.Hash) delta.Checksum {
	return delta.Checksum{Hash: h, Protocol: r.terms.sum.Protocol}
}

// paced limits and counts what is read of a file.
func (r *run) paced(ctx context.Context, f io.Reader) io.Reader {
	if r.v.cfg.Reads != nil {
		f = r.v.cfg.Reads.Reader(ctx, f)
	}
	return &counted{f, r.v}
}

type counted struct {
	io.Reader
	v *Verifier
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.v.progress.bytes.Add(int64(n))
	return n, err
}
