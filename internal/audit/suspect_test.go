package audit

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/verify"
	"github.com/syncd/syncd/transfer"
)

// Each case is a difference, and what happens around it. An alarm is only what is different twice, with nothing on its
// way that would explain it.
var suspicions = map[string]struct {
	happens func(w *fake)
	alarms  string // paths and words
	sent    string // again
	syncs   int
}{
	"different twice": {func(w *fake) { w.differs("d/f") }, "d/f differs: <fc........", "d/f", 2},
	"equal the second time": {func(w *fake) {
		w.differs("d/f")
		w.between = func(int) { delete(w.wrong, "d/f") }
	}, "", "", 1},
	"a change is on its way": {func(w *fake) {
		w.differs("d/f")
		w.pending["d/f"] = true
	}, "", "", 1},
	"a change has been read of by the time of the second look": {func(w *fake) {
		w.differs("d/f")
		w.synced = func(times int) { w.pending["d/f"] = times == 2 }
	}, "", "", 2},
	"sent between the looks": {func(w *fake) {
		w.differs("d/f")
		w.between = func(run int) {
			if run == 2 {
				w.put("d/f", unix.S_IFREG, 7)
			}
		}
	}, "", "", 2},
	"changed here, and nobody heard of it": {func(w *fake) {
		w.differs("d/f")
		st := w.source["d/f"]
		st.Ctime++
		w.source["d/f"] = st
	}, "", "d/f", 1},
	"gone here, and nobody heard of it": {func(w *fake) {
		w.differs("d/f")
		delete(w.source, "d/f")
	}, "", "d/f", 1},
	"never known to be there": {func(w *fake) {
		w.differs("d/f")
		w.apply(catalogue.MarkDoubt("d/f"))
	}, "", "", 0}, // no round has it
	"in doubt after the first look": {func(w *fake) {
		w.differs("d/f")
		w.between = func(int) { w.apply(catalogue.MarkDoubt("d/f")) }
	}, "", "d/f", 2},
	"extra": {func(w *fake) { w.extra("d/extra") }, "d/extra is only at the destination", "d/extra", 2},
	"extra, and removed there": {func(w *fake) {
		w.extra("d/extra")
		w.between = func(run int) {
			if run == 2 { // the first is of what was never compared
				clear(w.wrong)
			}
		}
	}, "", "", 1},
	"a file that is being written there": {func(w *fake) {
		w.extra("d/.f.a1B2c3")
		w.pending["d/f"] = true
	}, "", "", 1},
	"what looks so, and nothing is on its way": {func(w *fake) { w.extra("d/.f.a1B2c3") },
		"d/.f.a1B2c3 is only at the destination", "d/.f.a1B2c3", 2},
	"below what is no directory here": {func(w *fake) {
		w.extra("d/extra")
		st := w.source["d"]
		st.Mode = unix.S_IFREG
		w.source["d"] = st
	}, "", "", 1},
}

func TestSuspicions(t *testing.T) {
	for name, c := range suspicions {
		t.Run(name, func(t *testing.T) {
			auditing(t, func(t *testing.T, w *fake, a *Audit) {
				w.put("d/f", unix.S_IFREG, 1)
				c.happens(w)
				for did := true; did && w.syncs == 0; { // until something is found
					var err error
					if did, err = a.step(t.Context(), w); err != nil {
						t.Fatal(err)
					}
				}
				var alarms []string
				for _, l := range a.Status().Last {
					alarms = append(alarms, l.Path+" "+l.What)
				}
				if got := strings.Join(alarms, ", "); got != c.alarms || a.Status().Alarms != int64(len(alarms)) {
					t.Errorf("alarms: %q, want %q", got, c.alarms)
				}
				if got := strings.Join(w.sent, " "); got != c.sent {
					t.Errorf("sent again: %q, want %q", got, c.sent)
				}
				if w.syncs != c.syncs {
					t.Errorf("events were read %d times, want %d", w.syncs, c.syncs)
				}
			})
		})
	}
}

// What is different is no proof: it is compared again until it is equal.
func TestDifferentIsNotProven(t *testing.T) {
	auditing(t, func(t *testing.T, w *fake, a *Audit) {
		w.put("d/f", unix.S_IFREG, 1)
		w.differs("d/f")
		w.steps(a)
		if n := w.store.Counts().ProvenFiles; n != 0 {
			t.Errorf("%d files are proven", n)
		}
		st := w.source["d/f"]
		if r, _, err := w.store.Get("d/f"); err != nil || r.Version != transfer.VersionOf(&st) || r.Verified != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// The newest alarms are kept, the newest first.
func TestAlarmsAreBounded(t *testing.T) {
	auditing(t, func(t *testing.T, w *fake, a *Audit) {
		a.c.tuning.files = 3 * namedAlarms
		for i := range 2 * namedAlarms {
			p := fmt.Sprintf("d/%02d", i)
			w.put(p, unix.S_IFREG, 1)
			w.differs(p)
		}
		if did, err := a.step(t.Context(), w); !did || err != nil {
			t.Fatal(did, err)
		}
		st := a.Status()
		if st.Alarms != 2*namedAlarms || len(st.Last) != namedAlarms || st.Last[0].Path != fmt.Sprintf("d/%02d", 2*namedAlarms-1) {
			t.Errorf("%d alarms, of which %d are named, the first: %+v", st.Alarms, len(st.Last), st.Last[0])
		}
	})
}

// What cannot be compared is counted, but not what changes all the time.
func TestUncompared(t *testing.T) {
	a := New(Config{})
	s := &sink{a: a}
	s.Uncompared("a", verify.ErrUnreadable)
	s.Uncompared("b", fmt.Errorf("four times: %w", verify.ErrChanged))
	s.Uncompared("c", errors.New("input/output error"))
	if n := a.Status().Uncompared; n != 2 {
		t.Errorf("%d, want 2", n)
	}
}

func TestTemporaryNames(t *testing.T) {
	for name, want := range map[string]string{
		".file.a1B2c3": "file", "..hidden.ABCDEF": ".hidden", ".a.b.123456": "a.b",
		"file.a1B2c3": "", ".file.a1B2c": "", ".file.a1B2c3d": "", ".file.a1B-c3": "", "..a1B2c3": "", ".a1B2c3": "", "": "",
	} {
		if got, ok := temporaryOf(name); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %t, want %q", name, got, ok, want)
		}
	}
}
