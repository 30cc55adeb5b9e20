package delta

import "io"

// readChunk is how much a window reads at once, in bytes: few system calls, and still in the cache when it is summed
// and searched.
const readChunk = 256 << 10

// A window is the part of a file that the matcher can see. It moves forward only. All that is read goes into the
// whole-file sum, because all of it is sent, one way or the other.
type window struct {
	src  io.Reader
	file FileSum
	buf  []byte
	base int64 // offset in the file of buf[0]
	end  int64 // offset in the file behind the last byte in buf
	left int64 // bytes still to be read; 0 when the file has ended
	err  error // why reading stopped before size; nil if the file just ended
}

// start opens a window at the start of a file of size bytes, of which up to span are looked at at a time. It uses the
// memory of buf if that is enough, and no more than the file needs.
func (w *window) start(src io.Reader, file FileSum, size, span int64, buf []byte) {
	n := min(size, span+readChunk)
	if int64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	*w = window{src: src, file: file, buf: buf[:cap(buf)], left: size}
}

// need makes the bytes up to offset "to" visible, or all there are, and keeps those from offset "from" on. The two
// are at most span apart.
func (w *window) need(from, to int64) {
	for w.end < to && w.left > 0 {
		w.read(from, to)
	}
}

func (w *window) read(from, to int64) {
	used := w.end - w.base
	want := min(max(to-w.end, readChunk), w.left)
	if int64(len(w.buf))-used < want || from-w.base >= readChunk {
		// Moving the little that is kept to the front costs less than leaving the cache.
		copy(w.buf, w.buf[from-w.base:used])
		w.base = from
		used = w.end - from
	}
	p := w.buf[used:min(used+want, int64(len(w.buf)))]
	n, err := w.readSome(p)
	w.file.Write(p[:n])
	w.end += int64(n)
	w.left -= int64(n)
	if err != nil {
		w.left = 0
		if err != io.EOF {
			w.err = err
		}
	}
}

// readSome reads at least one byte or returns an error.
func (w *window) readSome(p []byte) (int, error) {
	for range maxEmptyReads {
		if n, err := w.src.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// at returns the visible bytes of [from, to).
func (w *window) at(from, to int64) []byte { return w.buf[from-w.base : to-w.base] }
