package verify

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/delta"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/transfer/embedded"
)

// local is a directory of this machine.
type local struct{ *embedded.Dest }

func (l local) Send(ctx context.Context, b *rsync.Batch, o rsync.Options, agreed func(terms)) (*rsync.Report, error) {
	agreed(terms{localProtocol, delta.Checksum{Hash: delta.XXH128, Protocol: localProtocol}})
	return l.Dest.Send(ctx, b, o)
}

const localProtocol = 32

// open opens the file of entry i for a destination on this machine, which compares content with content, and notes the
// digest of what is read. In a dry run no server asks for data.
func (r *run) open(ctx context.Context, b *batch, i int) (rsync.File, error) {
	f, err := r.v.cfg.Root.Open(b.entries[i].Path)
	if err != nil {
		return nil, err
	}
	b.about[i].read = time.Now()
	return &digested{File: f, from: r.paced(ctx, f), sum: r.newSum(b.hash), r: r, b: b, i: i}, nil
}

// digested is a file whose digest is made while it is read.
type digested struct {
	*scan.File
	from io.Reader
	sum  *delta.FileSum
	read int64
	r    *run
	b    *batch
	i    int
}

func (d *digested) Read(p []byte) (int, error) {
	n, err := d.from.Read(p)
	d.sum.Write(p[:n])
	d.read += int64(n)
	return n, err
}

func (d *digested) Size() int64 { return d.b.about[d.i].stat.Size }

// Close notes the digest if all of an unchanged version was read.
func (d *digested) Close() error {
	a := &d.b.about[d.i]
	st, err := d.Stat()
	switch {
	case err != nil:
		a.failed = err
	case st != a.stat:
		a.failed = ErrChanged
	case d.read == a.stat.Size:
		d.b.entries[d.i].Sum = d.sum.AppendSum(nil)
	}
	d.r.sums.Put(d.sum)
	return d.File.Close()
}

// newSum returns the sum of an empty file. One takes kilobytes: they are used again.
func (r *run) newSum(h delta.Hash) *delta.FileSum {
	if sum, ok := r.sums.Get().(*delta.FileSum); ok {
		sum.Reset()
		return sum
	}
	sum := r.checksum(h).NewFile()
	return &sum
}

// unreadable reports whether a file of a destination on this machine cannot be read.
func (v *Verifier) unreadable(path string) bool {
	root, err := scan.OpenRoot(v.cfg.Dialer.Dest.Path)
	if err != nil {
		return false
	}
	defer root.Close()
	f, err := root.Open(path)
	if err != nil {
		return errors.Is(err, fs.ErrPermission)
	}
	f.Close()
	return false
}
