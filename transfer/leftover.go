package transfer

import (
	"errors"
	"path"
	"time"

	"github.com/syncd/syncd/internal/queue"
)

// leftovers are the directories that were to be pruned and are to be pruned again, because something may be left in them
// that is gone here. A prune of the same directory that goes well, whatever it comes from, ends the record. The engine's
// goroutine owns it.
type leftovers map[string]leftover

type leftover struct {
	job   pruneJob
	since time.Time // when something was first left; zero: nothing is known to be, but for what rules protect
	due   time.Time // of the next try; zero: it is under way
	tries int
}

// undeleted spaces the tries.
var undeleted = queue.Backoff{First: time.Second, Max: time.Minute}

// mostTries is how often something is left before it is said to fail: a directory may have gone there, or been replaced,
// when its turn came, by changes that are only on their way.
const mostTries = 2

// note notes how pruning a directory ended: left tells that the destination refused to delete something, or to look for
// it; again, that it is to be tried again in any case.
func (l leftovers) note(p pruneJob, left, again bool, now time.Time) {
	if !left && !again {
		delete(l, p.path)
		return
	}
	was := l[p.path]
	was.job, was.due = p, now.Add(undeleted.Delay(was.tries+1))
	if was.tries++; !left {
		was.since = time.Time{}
	} else if was.since.IsZero() {
		was.since = now
	}
	l[p.path] = was
}

// take returns those that are due, which are under way from then on.
func (l leftovers) take(now time.Time) (due []pruneJob) {
	for p, f := range l {
		if !f.due.IsZero() && !f.due.After(now) {
			due = append(due, f.job)
			f.due = time.Time{}
			l[p] = f
		}
	}
	return due
}

// next is when the next one is due; zero: none is.
func (l leftovers) next() (due time.Time) {
	for _, f := range l {
		if !f.due.IsZero() && (due.IsZero() || f.due.Before(due)) {
			due = f.due
		}
	}
	return due
}

// since is when something was first left of what is still there; zero: nothing is.
func (l leftovers) since() (first time.Time) {
	for _, f := range l {
		if !f.since.IsZero() && (first.IsZero() || f.since.Before(first)) {
			first = f.since
		}
	}
	return first
}

// errLeft is why something is left. The server's words are in the log.
var errLeft = errors.New("the destination did not delete, or could not look for, what is gone here")

// above is the one that p is in, or is; false if there is none.
func (l leftovers) above(p string) (leftover, bool) {
	for ; ; p = path.Dir(p) {
		if f, ok := l[p]; ok && !f.since.IsZero() {
			return f, true
		}
		if p == "." {
			return leftover{}, false
		}
	}
}

// failing are those in which something is left, as what fails.
func (l leftovers) failing() (all []Failing) {
	for p, f := range l {
		if !f.since.IsZero() && f.tries >= mostTries {
			all = append(all, Failing{p, queue.Failure{
				Item: queue.Item{Kind: queue.Dir, Path: p}, Reason: errLeft, Attempts: f.tries, Since: f.since, Due: f.due,
			}})
		}
	}
	return all
}
