package audit

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/rsync/delta"
	"github.com/syncd/syncd/internal/verify"
	"github.com/syncd/syncd/transfer"
)

// maxSuspects bounds how much of what a batch finds different is looked at a second time; the rest is found by the next
// round.
const maxSuspects = 1000

// calmEvery is how often a batch that runs looks whether it has to step back.
const calmEvery = 250 * time.Millisecond

// counted is what a batch has compared.
type counted struct{ files, bytes int64 }

// A finding is a path that was found different.
type finding struct {
	path  string
	what  string
	extra bool
	was   catalogue.Record // what the catalogue had before the second look
	known bool             // it had something
}

// compare compares items in order, up to the point where the audit has to step back. It returns how many it compared.
func (a *Audit) compare(ctx context.Context, w World, items []verify.Item, ahead bool) (done int, c counted, err error) {
	looked := time.Now()
	first := &sink{a: a, proofs: true}
	if len(items) > 0 {
		_, err = w.Compare(ctx, func(yield func(verify.Item) bool) {
			for _, it := range items {
				if time.Since(looked) > calmEvery {
					looked = time.Now()
					if !w.Calm(ctx, ahead) {
						return
					}
				}
				if !yield(it) {
					return
				}
				done++
			}
		}, first, ahead)
	}
	if err == nil {
		err = first.flush()
	}
	if err == nil && len(first.found) > 0 {
		err = a.suspect(ctx, w, first.found, ahead)
	}
	if err == nil {
		a.went(first.counted)
	}
	return done, first.counted, err
}

// suspect looks again at what was found different, and raises an alarm for what still is.
func (a *Audit) suspect(ctx context.Context, w World, found []finding, ahead bool) error {
	found, err := a.sift(ctx, w, found, false)
	if err != nil || len(found) == 0 {
		return err
	}
	second := &sink{a: a, only: map[string]bool{}}
	for _, f := range found {
		second.only[f.path] = true
	}
	if _, err := w.Compare(ctx, again(found), second, ahead); err != nil {
		return err
	}
	still := map[string]string{}
	for _, f := range second.found {
		still[f.path] = f.what
	}
	confirmed := found[:0]
	for _, f := range found {
		if what, ok := still[f.path]; ok {
			f.what = what
			confirmed = append(confirmed, f)
		}
	}
	if confirmed, err = a.sift(ctx, w, confirmed, true); err != nil {
		return err
	}
	for _, f := range confirmed {
		if f.extra || f.known {
			a.alarm(f)
		}
		w.Again(f.path)
	}
	return nil
}

// again yields what has to be compared to look at findings once more.
func again(found []finding) iter.Seq[verify.Item] {
	return func(yield func(verify.Item) bool) {
		listed := map[string]bool{}
		for _, f := range found {
			it := verify.Item{Path: f.path}
			if f.extra { // some servers cannot be asked for a name alone
				it = verify.Item{Path: path.Dir(f.path), Names: true}
				if listed[it.Path] {
					continue
				}
				listed[it.Path] = true
			}
			if !yield(it) {
				return
			}
		}
	}
}

// sift drops what is about to be sent, or is not what it was. The first time it notes what the catalogue has, the
// second time it compares with that.
func (a *Audit) sift(ctx context.Context, w World, found []finding, second bool) ([]finding, error) {
	if len(found) == 0 {
		return nil, nil
	}
	if err := w.Sync(ctx); err != nil {
		return nil, err
	}
	kept := found[:0]
	for _, f := range found {
		pending, err := a.pending(ctx, w, f)
		if err != nil {
			return nil, err
		}
		r, known, err := a.c.Catalogue.Get(f.path)
		if err != nil {
			return nil, a.broken(ctx, err)
		}
		known = known && r.State != catalogue.Doubt
		switch {
		case pending:
			continue
		case !second:
			f.was, f.known = r, known
		case known != f.known || r.Version != f.was.Version:
			continue
		}
		if f.extra {
			// What is below something that is not here goes with that.
			if st, err := w.Lookup(path.Dir(f.path)); err != nil || !st.IsDir() {
				continue
			}
		}
		if !f.extra && known {
			if st, err := w.Lookup(f.path); err != nil || transfer.VersionOf(&st) != r.Version {
				if err == nil || errors.Is(err, fs.ErrNotExist) {
					w.Again(f.path) // a change that nobody has heard of
				}
				continue
			}
		}
		kept = append(kept, f)
	}
	return kept, nil
}

// pending reports whether something that is to come explains what was found.
func (a *Audit) pending(ctx context.Context, w World, f finding) (bool, error) {
	pending, err := w.Pending(ctx, f.path)
	if pending || err != nil || !f.extra {
		return pending, err
	}
	name, ok := temporaryOf(path.Base(f.path))
	if !ok {
		return false, nil
	}
	return w.Pending(ctx, path.Join(path.Dir(f.path), name))
}

// temporaryOf returns the name of the file that a server is writing under this one: a dot before it, and a dot and six
// characters after it.
func temporaryOf(name string) (string, bool) {
	const random = 6
	at := len(name) - random - 1
	if at < 2 || name[0] != '.' || name[at] != '.' || strings.ContainsFunc(name[at+1:], func(r rune) bool {
		return !('0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	}) {
		return "", false
	}
	return name[1:at], true
}

// A sink takes what a comparison finds (verify.Sink).
type sink struct {
	a       *Audit
	proofs  bool            // what is equal is noted
	only    map[string]bool // nothing else is of interest; nil: all is
	changes []catalogue.Change
	err     error
	found   []finding
	counted
}

// maxProofs is how many proofs are handed to the catalogue at once.
const maxProofs = 512

func (s *sink) Equal(p string, proof verify.Proof) {
	if !s.proofs || proof.Digest == nil {
		return
	}
	s.files++
	s.bytes += proof.Version.Size
	s.changes = append(s.changes, Verified(p, proof))
	if len(s.changes) >= maxProofs {
		s.err = errors.Join(s.err, s.flush())
	}
}

// flush hands proofs to the catalogue.
func (s *sink) flush() error {
	if s.err != nil || len(s.changes) == 0 {
		return s.err
	}
	err := s.a.c.Catalogue.Apply(s.changes...)
	s.changes = s.changes[:0]
	if err != nil {
		return s.a.broken(context.Background(), err)
	}
	return nil
}

func (s *sink) Different(d verify.Difference) {
	if s.only != nil && !s.only[d.Path] || len(s.found) >= maxSuspects {
		return
	}
	s.found = append(s.found, finding{path: d.Path, what: What(&d), extra: d.Extra})
}

func (s *sink) Uncompared(p string, err error) {
	if !errors.Is(err, verify.ErrChanged) {
		s.a.uncompared(p, err)
	}
}

func (s *sink) Note(text string) { s.a.log.Debug("audit", "note", text) }

// What says in words what a difference is.
func What(d *verify.Difference) string {
	switch {
	case d.Extra:
		return "is only at the destination"
	case d.Missing():
		return "is missing at the destination"
	}
	return "differs: " + d.Flags.Format(d.Entry.Mode)
}

// Verified is what the catalogue is told of a file whose content was found equal.
func Verified(path string, p verify.Proof) catalogue.Change {
	var digest [16]byte
	copy(digest[:], p.Digest)
	return catalogue.Verified(path, transfer.VersionOf(&p.Version), p.Read.Unix(), digest, sums[p.Hash])
}

// sums are the catalogue's names of hashes.
var sums = map[delta.Hash]catalogue.Sum{
	delta.XXH128: catalogue.XXH128, delta.XXH3: catalogue.XXH3, delta.XXH64: catalogue.XXH64,
	delta.MD5: catalogue.MD5, delta.MD4: catalogue.MD4, delta.SHA1: catalogue.SHA1,
}
