package ratelimit

import (
	"context"
	"io"
)

// Writer returns a writer that hands to w what the limit allows. Without a limit each write is passed on whole, else in
// pieces of up to 4 ms worth. A wait ends with ctx; Write then returns its cause, with the number of bytes written.
func (l *Limiter) Writer(ctx context.Context, w io.Writer) io.Writer {
	return &writer{ctx: ctx, l: l, w: w}
}

type writer struct {
	ctx context.Context
	l   *Limiter
	w   io.Writer
}

func (w *writer) Write(p []byte) (int, error) {
	if w.l.gate.Load() == nil {
		return w.w.Write(p)
	}
	written := 0
	for written < len(p) {
		n, err := w.l.take(w.ctx, len(p)-written)
		if err != nil {
			return written, err
		}
		n, err = w.w.Write(p[written : written+n])
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// Reader returns a reader that takes from r what the limit allows. Without a limit each read is passed on whole, else
// in pieces of up to 4 ms worth, each of which is read first and then waited for. A wait ends with ctx; Read then
// returns its cause, together with the bytes that were read.
func (l *Limiter) Reader(ctx context.Context, r io.Reader) io.Reader {
	return &reader{ctx: ctx, l: l, r: r}
}

type reader struct {
	ctx context.Context
	l   *Limiter
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	g := r.l.gate.Load()
	if g == nil {
		return r.r.Read(p)
	}
	n, err := r.r.Read(p[:min(len(p), g.piece)])
	for left := n; left > 0; {
		// A lower rate set meanwhile may want this in more than one piece.
		took, waitErr := r.l.take(r.ctx, left)
		if waitErr != nil {
			return n, waitErr
		}
		left -= took
	}
	return n, err
}

// Wrap returns rwc with its writes limited as by Writer. Reads and Close are not.
func (l *Limiter) Wrap(ctx context.Context, rwc io.ReadWriteCloser) io.ReadWriteCloser {
	return &conn{ReadWriteCloser: rwc, writer: writer{ctx: ctx, l: l, w: rwc}}
}

type conn struct {
	io.ReadWriteCloser
	writer writer
}

func (c *conn) Write(p []byte) (int, error) { return c.writer.Write(p) }
