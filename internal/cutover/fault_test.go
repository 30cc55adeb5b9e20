package cutover

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A fault is what may happen to a call.
type fault string

const (
	fails     fault = "fails"
	hangs     fault = "hangs until its context ends"
	deaf      fault = "hangs whatever its context says"
	cancelled fault = "is called when the operator gives up"
	lost      fault = "hangs, and the operator gives up later"
)

// Each call of a good run goes wrong in each way, alone and before a thaw hook that
// goes wrong as well.
func TestFaultsEverywhere(t *testing.T) {
	var calls []string
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		Run(t.Context(), f, Config{Plan: plan()})
		calls = f.calls
	})
	if len(calls) < 15 {
		t.Fatalf("a good run calls only %v", calls)
	}
	for n, name := range calls {
		for _, kind := range []fault{fails, hangs, deaf, cancelled, lost} {
			for _, thaw := range []fault{"", fails, hangs, deaf} {
				t.Run(fmt.Sprintf("%d %s %s/%s", n, name, kind, thaw), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { oneFault(t, n, kind, thaw) })
				})
			}
		}
	}
}

func oneFault(t *testing.T, at int, kind, thaw fault) {
	f, told := newFake(), new(told)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	release := make(chan struct{})
	defer close(release)
	strike := func(ctx context.Context, kind fault) error {
		switch kind {
		case fails:
			return errBoom
		case lost:
			time.AfterFunc(time.Second, func() { cancel(ErrInterrupted) })
			fallthrough
		case hangs:
			<-ctx.Done()
			return context.Cause(ctx)
		case deaf:
			<-release
			return errBoom
		case cancelled:
			cancel(ErrInterrupted)
		}
		return nil
	}
	f.hit = func(ctx context.Context, n int, name string) error {
		switch {
		case n == at:
			return strike(ctx, kind)
		case name == "thaw":
			return strike(ctx, thaw)
		}
		return nil
	}
	p := plan()
	p.DrainTimeout = 5 * time.Minute // for a call that hangs before the freeze
	begin := time.Now()
	r := Run(ctx, f, Config{Plan: p, Emit: told.emit})
	if spent := time.Since(begin); spent > 10*time.Minute {
		t.Errorf("it took %v", spent)
	}
	invariants(t, f, p, r, told)
}

// invariants hold for every run.
func invariants(t *testing.T, f *fake, p Plan, r *Report, told *told) {
	t.Helper()
	p = p.complete()
	f.mu.Lock()
	calls := slices.Clone(f.calls)
	f.mu.Unlock()
	froze, thaws := slices.Contains(calls, "freeze"), f.count("thaw")
	done := r.Outcome == Succeeded
	stay := f.exit[GoHook] == StayFrozen && slices.Contains(calls, "go")

	wantThaws := 0
	if froze && !done && !stay {
		wantThaws = 1
	}
	if thaws != wantThaws || f.count("freeze") > 1 || f.count("go") > 1 {
		t.Errorf("%s: freeze %d, go %d, thaw %d times", r.Outcome, f.count("freeze"), f.count("go"), thaws)
	}
	if r.Outcome == Running || r.End.IsZero() || (r.Reason == "") != (r.ExitStatus() == 0) {
		t.Errorf("outcome %s, ended %v, reason %q", r.Outcome, r.End, r.Reason)
	}
	for _, p := range r.Phases {
		if p.End.IsZero() {
			t.Errorf("phase %s has no end", p.State)
		}
	}
	if done {
		reallyDone(t, f, p, r, calls)
	} else if !stay {
		// Taken back as far as it could be.
		if i := slices.Index(calls, "hold"); i >= 0 && !slices.Contains(calls[i:], "unhold") {
			t.Error("nothing is sent any more")
		}
		if slices.Contains(calls, "drain") && !slices.Contains(calls, "undrain") {
			t.Error("everything rests for ever")
		}
	}
	if froze {
		most := p.Budget + HookGrace
		frozen := time.Duration(r.FrozenSeconds * float64(time.Second))
		if thaws > 0 {
			if d := f.began["thaw"].Sub(f.began["freeze"]); d > most {
				t.Errorf("the thaw began %v after the freeze", d)
			}
			most += p.ThawTimeout + HookGrace
		}
		if frozen > most {
			t.Errorf("frozen for %v", frozen)
		}
	}
	loud := told.loud()
	left := r.Outcome == LeftFrozen
	if left != (loud != "") || left != (r.ByHand != "") || left && !strings.Contains(loud, ": "+p.ThawHook) {
		t.Errorf("%s: loud %q, by hand %q", r.Outcome, loud, r.ByHand)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), r.Reason) {
		t.Errorf("%v in text:\n%s", err, text.String())
	}
}

// reallyDone checks what done promises.
func reallyDone(t *testing.T, f *fake, p Plan, r *Report, calls []string) {
	t.Helper()
	v := r.Verified
	if v == nil || !v.Complete || v.Different+v.Skipped+v.Changed > 0 || len(v.Differences)+len(v.Uncompared) > 0 {
		t.Errorf("done, with %+v", v)
	}
	if r.Writes == nil || r.Writes.Total > 0 || r.Writers == nil || len(r.Writers.Processes) > 0 || r.Settled.Failing > 0 {
		t.Errorf("done, with writes %+v, writers %+v, settled %+v", r.Writes, r.Writers, r.Settled)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.held {
		t.Error("done, and the source is still followed")
	}
	// In this order, after the freeze hook and before the go hook.
	order := []string{"sync", "settle", "verify", "hold", "save", "writers", "writes", "backlog"}
	if p.FreezeHook != "" {
		order = append([]string{"freeze"}, order...)
	}
	if p.GoHook != "" {
		order = append(order, "go")
	}
	rest := calls
	for _, name := range order {
		i := slices.Index(rest, name)
		if i < 0 {
			t.Fatalf("%s is not where it belongs in %v", name, calls)
		}
		rest = rest[i+1:]
	}
}
