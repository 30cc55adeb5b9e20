package daemon

import (
	"path"
	"sync"

	"github.com/syncd/syncd/internal/queue"
)

const (
	mostWrites  = 1 << 17 // paths that are told apart
	namedWrites = 20
)

// writes notes what the watcher names, from begin on. Its methods are safe for concurrent use.
type writes struct {
	mu    sync.Mutex
	on    bool
	many  bool // more than are told apart
	paths map[string]struct{}
	first []string
	blank string // why some may not have been named; "": all were
}

// begin forgets what was noted. blank says why some writes may not be named from the start.
func (w *writes) begin(blank string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on, w.many, w.paths, w.first, w.blank = true, false, map[string]struct{}{}, nil, blank
}

// blind notes why from now on not all writes are named.
func (w *writes) blind(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blank = why
}

// unseen is why some writes since begin may not be in the list; "" if all are.
func (w *writes) unseen() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.blank
}

// end stops noting.
func (w *writes) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on, w.paths = false, nil
}

func (w *writes) add(it queue.Item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.paths[it.Path]; !w.on || known {
		return
	}
	if len(w.paths) >= mostWrites {
		w.many = true
		return
	}
	w.paths[it.Path] = struct{}{}
	if len(w.first) < namedWrites {
		w.first = append(w.first, it.Path)
	}
}

// list is how many paths were named, at least, and the first of them.
func (w *writes) list() (total int64, first []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(len(w.paths)), append([]string(nil), w.first...)
}

// concern reports whether what was noted may have changed p: it names p, a directory above it, which may have been
// moved, or an entry of it, whose coming or going changes p's times.
func (w *writes) concern(p string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.many {
		return true
	}
	for above := p; ; above = path.Dir(above) {
		if _, ok := w.paths[above]; ok {
			return true
		}
		if above == "." {
			break
		}
	}
	for q := range w.paths {
		if path.Dir(q) == p {
			return true
		}
	}
	return false
}
