package cutover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// fake is a World in which all goes well unless a test changes it.
type fake struct {
	mu    sync.Mutex
	calls []string // names in their order
	began map[string]time.Time
	times map[string]time.Duration // how long a call takes
	// hit is asked at each call, with its number from 0; nil: nothing happens.
	hit func(ctx context.Context, n int, name string) error

	backlogs   []Backlog // as they are seen; the last one stays
	settled    Settled
	verified   Verified
	writes     Writes
	writers    []Writers // as they are seen; the last one stays
	exit       map[Hook]int
	saved      []*Report
	held       bool
	drained    bool
	hookEnv    map[Hook][]string
	verifyWith Scope
}

var errBoom = errors.New("boom")

func newFake() *fake {
	return &fake{
		began: map[string]time.Time{},
		times: map[string]time.Duration{
			"sync": 10 * time.Millisecond, "settle": time.Second, "verify": 2 * time.Second,
			"freeze": 500 * time.Millisecond, "go": 500 * time.Millisecond, "thaw": 500 * time.Millisecond,
		},
		backlogs: []Backlog{{Paths: 5000, Bytes: 1 << 30}, {Paths: 3}, {}},
		settled:  Settled{Entries: 1000, Sent: 3, Bytes: 300},
		verified: Verified{Complete: true, Files: 10, Bytes: 1000, Digest: "xxh128", Proven: 900, Entries: 1000},
		writers:  []Writers{{}},
		exit:     map[Hook]int{},
		hookEnv:  map[Hook][]string{},
	}
}

// call notes a call, lets it take its time, and what hit wants.
func (f *fake) call(ctx context.Context, name string) error {
	f.mu.Lock()
	n := len(f.calls)
	f.calls = append(f.calls, name)
	f.began[name] = time.Now()
	f.mu.Unlock()
	if f.hit != nil {
		if err := f.hit(ctx, n, name); err != nil {
			return err
		}
	}
	select {
	case <-time.After(f.times[name]):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// count is how often a call was made.
func (f *fake) count(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if c == name {
			n++
		}
	}
	return n
}

func (f *fake) Backlog(ctx context.Context) (Backlog, error) {
	if err := f.call(ctx, "backlog"); err != nil {
		return Backlog{}, err
	}
	b := f.backlogs[0]
	if len(f.backlogs) > 1 {
		f.backlogs = f.backlogs[1:]
	}
	return b, nil
}

func (f *fake) Drain(ctx context.Context, on bool) error {
	if !on {
		if err := f.call(ctx, "undrain"); err != nil {
			return err
		}
	} else if err := f.call(ctx, "drain"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drained = on
	return nil
}

func (f *fake) Hold(ctx context.Context, on bool) error {
	if !on {
		if err := f.call(ctx, "unhold"); err != nil {
			return err
		}
	} else if err := f.call(ctx, "hold"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = on
	return nil
}

func (f *fake) Sync(ctx context.Context) error { return f.call(ctx, "sync") }

func (f *fake) Settle(ctx context.Context) (Settled, error) {
	return f.settled, f.call(ctx, "settle")
}

func (f *fake) Verify(ctx context.Context, s Scope) (Verified, error) {
	f.verifyWith = s
	return f.verified, f.call(ctx, "verify")
}

func (f *fake) Writes(ctx context.Context) (Writes, error) {
	return f.writes, f.call(ctx, "writes")
}

func (f *fake) Writers(ctx context.Context) (Writers, error) {
	w := f.writers[0]
	if len(f.writers) > 1 {
		f.writers = f.writers[1:]
	}
	return w, f.call(ctx, "writers")
}

func (f *fake) Hook(ctx context.Context, h Hook, command string, env []string) (int, string, error) {
	f.mu.Lock()
	f.hookEnv[h] = env
	f.mu.Unlock()
	if err := f.call(ctx, string(h)); err != nil {
		return -1, "cut off", err
	}
	if n := f.exit[h]; n != 0 {
		return n, "it said no\n", fmt.Errorf("exit status %d", n)
	}
	return 0, command + " ran\n", nil
}

func (f *fake) Save(ctx context.Context, r *Report) error {
	if err := f.call(ctx, "save"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.saved = append(f.saved, r)
	return nil
}

// plan has all the hooks.
func plan() Plan {
	return Plan{
		FreezeHook: "stop", GoHook: "over", ThawHook: "start", Budget: 20 * time.Second, GoTimeout: 5 * time.Second,
		ThawTimeout: 10 * time.Second, Report: "/r",
	}
}

// told gathers the events of a run.
type told struct{ events []Event }

func (t *told) emit(e Event) { t.events = append(t.events, e) }

func (t *told) states() []State {
	var all []State
	for _, e := range t.events {
		all = append(all, e.State)
	}
	return slices.Compact(all)
}

// loud are the words of events on which somebody has to act.
func (t *told) loud() string {
	var all []string
	for _, e := range t.events {
		if e.Loud {
			all = append(all, e.Text)
		}
	}
	return strings.Join(all, "\n")
}
