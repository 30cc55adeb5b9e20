package notify

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// limited is a logger and what came through it, as the journal would see it.
func limited(keys ...string) (*slog.Logger, func(t *testing.T, want ...string)) {
	var b strings.Builder
	l := slog.New(Limit(newHandler(&b, slog.LevelDebug, true), keys...))
	return l, func(t *testing.T, want ...string) {
		t.Helper()
		if len(want) > 0 {
			want = append(want, "")
		}
		if diff := cmp.Diff(strings.Join(want, "\n"), b.String()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		b.Reset()
	}
}

func TestStandingErrorOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, expect := limited("target")
		for i := range 150 { // a second each
			log.Error("cannot connect", "target", "h", "err", fmt.Errorf("port %d", i))
			<-time.After(time.Second)
		}
		expect(t,
			`<3>cannot connect target=h err="port 0"`,
			`<3>cannot connect target=h err="port 60" suppressed=59`,
			`<3>cannot connect target=h err="port 120" suppressed=59`)

		log.Info("connected", "target", "h", Recovers("cannot connect"))
		log.Info("connected", "target", "h", Recovers("cannot connect"))
		expect(t, `<6>connected target=h lasted=2m30s failures=150`)

		// It is new again.
		log.Error("cannot connect", "target", "h")
		log.Error("cannot connect", "target", "h")
		expect(t, `<3>cannot connect target=h`)
	})
}

func TestWhatIsOneError(t *testing.T) {
	log, expect := limited("target", "path")
	log.Warn("a", "target", "h")
	log.Warn("b", "target", "h")
	log.Warn("a", "target", "i")
	log.Warn("a", "target", "h", "path", "p")
	log.Warn("a", "target", "", "path", "h") // not "h" and ""
	expect(t, "<4>a target=h", "<4>b target=h", "<4>a target=i", "<4>a target=h path=p", `<4>a target="" path=h`)

	// By With or not, with other attributes or other levels.
	with := log.With("target", "h", "lane", "small")
	with.Warn("a")
	with.With("path", "p").Warn("a")
	log.Error("a", "target", "h", "attempt", 2)
	log.WithGroup("g").Warn("a", "target", "h")
	expect(t)

	// A sibling's With is its own.
	one, two := with.With("path", "1"), with.With("path", "2")
	one.Warn("a")
	two.Warn("a")
	expect(t, "<4>a target=h lane=small path=1", "<4>a target=h lane=small path=2")

	// Where one value ends and the next begins counts.
	log.Warn("a", "target", "x y", "path", "z")
	log.Warn("a", "target", "x", "path", "y z")
	expect(t, `<4>a target="x y" path=z`, `<4>a target=x path="y z"`)
}

// What one sibling adds is not seen by the other, whatever memory they share.
func TestSiblings(t *testing.T) {
	log, expect := limited("a", "b", "c", "d")
	parent := log.With("a", 1, "b", 2, "c", 3)
	one, two := parent.With("d", 1), parent.With("d", 2)
	one.Warn("w")
	two.Warn("w")
	one.Warn("w")
	expect(t, "<4>w a=1 b=2 c=3 d=1", "<4>w a=1 b=2 c=3 d=2")
}

func TestNewsAlwaysPass(t *testing.T) {
	log, expect := limited()
	for range 3 {
		log.Info("i")
		log.Debug("d")
	}
	expect(t, "<6>i", "<7>d", "<6>i", "<7>d", "<6>i", "<7>d")
}

func TestRecoveryOfNothing(t *testing.T) {
	log, expect := limited("target")
	log.Info("connected", "target", "h", Recovers("cannot connect"))
	log.Error("cannot connect", "target", "other")
	log.Info("connected", "target", "h", Recovers("cannot connect"))
	log.Info("answers", "recovers", "a word") // not ours
	expect(t, "<3>cannot connect target=other", `<6>answers recovers="a word"`)
}

// Other handlers do not see what is meant for this one.
func TestRecoversWithoutLimit(t *testing.T) {
	var b strings.Builder
	slog.New(newHandler(&b, slog.LevelInfo, true)).Info("connected", Recovers("cannot connect"))
	if b.String() != "<6>connected\n" {
		t.Error(b.String())
	}
}

// However many errors there are, memory is bounded and the newest are known.
func TestManyErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := Limit(slog.DiscardHandler, "path").(*limiter)
		h.next = newHandler(new(strings.Builder), slog.LevelError, true)
		log := slog.New(h)
		for i := range 10 * limitMost {
			log.Error("refused", "path", i)
			if i%100 == 0 {
				log.Error("refused", "path", "again and again")
			}
			if n := len(h.shared.errors); n > limitMost {
				t.Fatalf("%d are remembered", n)
			}
			<-time.After(time.Microsecond)
		}
		if n := len(h.shared.errors); n < limitMost/2 {
			t.Errorf("only %d are remembered", n)
		}
		if h.shared.end(h.identity("refused", record("path", 10*limitMost-1))) == nil {
			t.Error("the newest is forgotten")
		}
		if old := h.shared.end(h.identity("refused", record("path", "again and again"))); old == nil || old.count != 10*limitMost/100+1 {
			t.Errorf("one that stands all the time was forgotten: %+v", old)
		}
	})
}

func record(args ...any) slog.Record {
	var r slog.Record
	r.Add(args...)
	return r
}

func TestLimitFromManyGoroutines(t *testing.T) {
	log, expect := limited("target")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				log.Error("down", "target", "h", "err", errors.New("x"))
			}
		})
	}
	all.Wait()
	log.Info("up", "target", "h")
	expect(t, "<3>down target=h err=x", "<6>up target=h")
}
