package transfer

import (
	"testing"
	"time"
)

// A directory is left over until a prune of it has gone well, whatever asked for that.
func TestLeftovers(t *testing.T) {
	now := time.Unix(1000, 0)
	l := leftovers{}
	d := pruneJob{path: "d"}
	l.note(d, true, false, now)
	if due := l.take(now); len(due) != 0 || l.next().After(now.Add(time.Second)) {
		t.Errorf("%v are due, the next at %v", due, l.next())
	}
	if f := l.failing(); len(f) != 0 {
		t.Errorf("at the first try: %v", f)
	}
	now = now.Add(time.Second)
	if due := l.take(now); len(due) != 1 || due[0] != d || !l.next().IsZero() || len(l.take(now)) != 0 {
		t.Errorf("%v are due, the next at %v", due, l.next())
	}
	l.note(d, true, true, now)
	if f := l.failing(); len(f) != 1 || !f[0].Since.Equal(time.Unix(1000, 0)) || !l.since().Equal(time.Unix(1000, 0)) {
		t.Errorf("%+v since %v", f, l.since())
	}
	for range 20 {
		l.note(d, true, true, now)
	}
	if wait := l.next().Sub(now); wait < 45*time.Second || wait > time.Minute {
		t.Errorf("after many tries the next one is in %v", wait)
	}
	if f, ok := l.above("d/x/y"); !ok || f.job != d {
		t.Errorf("d/x/y is in %v", f.job)
	}
	if f, ok := l.above("da"); ok {
		t.Errorf("da is in %v", f.job)
	}
	l.note(d, false, true, now) // what is in it is protected
	if f := l.failing(); len(f) != 0 || !l.since().IsZero() || l.next().IsZero() {
		t.Errorf("%+v since %v, the next at %v", f, l.since(), l.next())
	}
	l.note(d, true, false, now)
	l.note(d, false, false, now)
	if len(l) != 0 || !l.next().IsZero() {
		t.Errorf("left: %v", l)
	}
}

func TestRefusedIn(t *testing.T) {
	dirs := []pruneJob{{path: "a"}, {path: "a/b"}, {path: "c"}}
	for words, want := range map[string]int{"": 0, "unlink(a/x) failed": 1, "rmdir(a/b/x) failed": 2, "oh": 3} {
		var all []string
		if words != "" {
			all = []string{words}
		}
		n := 0
		for _, named := range refusedIn(dirs, all) {
			if named {
				n++
			}
		}
		if n != want {
			t.Errorf("%q names %d, want %d", words, n, want)
		}
	}
}
