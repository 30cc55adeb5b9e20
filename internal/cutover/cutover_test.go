package cutover

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, told := newFake(), new(told)
		begin := time.Now()
		r := Run(t.Context(), f, Config{Plan: plan(), Source: "/srv", Destination: "h::m", Version: "v1", Emit: told.emit})
		if r.Outcome != Succeeded || r.Reason != "" || r.ExitStatus() != 0 {
			t.Fatalf("%+v", r)
		}
		if want := []State{Draining, Frozen, Settling, Verifying, Going, Done}; !slices.Equal(told.states(), want) {
			t.Errorf("states %v, want %v", told.states(), want)
		}
		// 0.5 s for each of two hooks, 10 ms, 1 s and 2 s.
		if r.FrozenSeconds != 4.01 {
			t.Errorf("frozen for %v s", r.FrozenSeconds)
		}
		var phases []string
		for i, p := range r.Phases {
			phases = append(phases, string(p.State))
			if i > 0 && !p.Begin.Equal(r.Phases[i-1].End) {
				t.Errorf("phase %s does not begin where the one before ends", p.State)
			}
		}
		if got := strings.Join(phases, " "); got != "draining frozen settling verifying going" {
			t.Errorf("phases %s", got)
		}
		if !r.Begin.Equal(begin) || r.Begin.Location() != time.UTC || !r.End.Equal(r.Phases[4].End) {
			t.Errorf("from %v to %v", r.Begin, r.End)
		}
		if f.count("thaw") != 0 || !f.held || !f.drained {
			t.Errorf("thawed %d times, held %v, drained %v", f.count("thaw"), f.held, f.drained)
		}
		if f.verifyWith != Changed {
			t.Errorf("verified %q", f.verifyWith)
		}
		// What is kept at the end is the whole; what the go hook sees has the proof.
		last := f.saved[len(f.saved)-1]
		if diff := cmp.Diff(r, last); diff != "" {
			t.Errorf("kept: -returned +kept\n%s", diff)
		}
		if before := f.saved[len(f.saved)-2]; before.Outcome != Running || before.Verified == nil {
			t.Errorf("the go hook sees %+v", before)
		}
		if f.saved[0].Outcome != Running || f.saved[0].Phases != nil {
			t.Errorf("the first report is %+v", f.saved[0])
		}
	})
}

func TestHookEnvironment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.exit[GoHook] = 1
		Run(t.Context(), f, Config{Plan: plan(), Source: "/srv", Destination: "h::m"})
		for hook, want := range map[Hook][]string{
			FreezeHook: {"SYNCD_HOOK=freeze", "SYNCD_STATE=frozen", "SYNCD_FROM=", "SYNCD_REASON=", "SYNCD_SOURCE=/srv", "SYNCD_DEST=h::m",
				"SYNCD_REPORT=/r", "SYNCD_BACKLOG_PATHS=3", "SYNCD_BACKLOG_BYTES=0", "SYNCD_SETTLED_SENT=0",
				"SYNCD_VERIFIED_FILES=0", "SYNCD_VERIFIED_BYTES=0", "SYNCD_PROVEN_FILES=0", "SYNCD_DIFFERENT=0", "SYNCD_UNCOMPARED=0"},
			GoHook: {"SYNCD_HOOK=go", "SYNCD_STATE=going", "SYNCD_FROM=", "SYNCD_REASON=", "SYNCD_SOURCE=/srv", "SYNCD_DEST=h::m",
				"SYNCD_REPORT=/r", "SYNCD_BACKLOG_PATHS=0", "SYNCD_BACKLOG_BYTES=0", "SYNCD_SETTLED_SENT=3",
				"SYNCD_VERIFIED_FILES=10", "SYNCD_VERIFIED_BYTES=1000", "SYNCD_PROVEN_FILES=900", "SYNCD_DIFFERENT=0", "SYNCD_UNCOMPARED=0"},
			ThawHook: {"SYNCD_HOOK=thaw", "SYNCD_STATE=thawing", "SYNCD_FROM=going", "SYNCD_REASON=the go hook failed: exit status 1",
				"SYNCD_SOURCE=/srv", "SYNCD_DEST=h::m",
				"SYNCD_REPORT=/r", "SYNCD_BACKLOG_PATHS=0", "SYNCD_BACKLOG_BYTES=0", "SYNCD_SETTLED_SENT=3",
				"SYNCD_VERIFIED_FILES=10", "SYNCD_VERIFIED_BYTES=1000", "SYNCD_PROVEN_FILES=900", "SYNCD_DIFFERENT=0", "SYNCD_UNCOMPARED=0"},
		} {
			if diff := cmp.Diff(want, f.hookEnv[hook]); diff != "" {
				t.Errorf("%s: -want +got\n%s", hook, diff)
			}
		}
	})
}

// What the world finds, and what comes of it.
func TestOutcomes(t *testing.T) {
	writer := Writers{Processes: []Writer{{PID: 7, Command: "app", Files: []Path{NewPath("log")}}}}
	for name, c := range map[string]struct {
		plan    func(*Plan)
		world   func(*fake)
		outcome Outcome
		reason  string // a pattern
		thawed  int
		frozen  bool // the freeze hook ran
	}{
		"no hooks": {
			plan:    func(p *Plan) { p.FreezeHook, p.GoHook, p.ThawHook = "", "", "" },
			outcome: Succeeded, reason: "^$",
		},
		"no go hook": {plan: func(p *Plan) { p.GoHook = "" }, outcome: Succeeded, reason: "^$", frozen: true},
		"the freeze hook fails": {
			world:   func(f *fake) { f.exit[FreezeHook] = 3 },
			outcome: Aborted, reason: "^the freeze hook failed: exit status 3$", thawed: 1, frozen: true,
		},
		"the freeze hook hangs": {
			world:   func(f *fake) { f.times["freeze"] = time.Hour },
			outcome: Aborted, reason: "^the freeze budget of 20s, of which 5s are kept for the go hook, was spent while frozen$",
			thawed: 1, frozen: true,
		},
		"settling takes too long": {
			world:   func(f *fake) { f.times["settle"] = 14 * time.Second },
			outcome: Aborted, reason: "spent while verifying$", thawed: 1, frozen: true,
		},
		"settling fails": {
			world:   func(f *fake) { f.settled.Failing = 2; f.settled.Failed = []Problem{{NewPath("a\nb"), "denied"}} },
			outcome: Aborted, reason: `^2 paths could not be sent, such as a\\#012b: denied$`, thawed: 1, frozen: true,
		},
		"a difference": {
			world:   func(f *fake) { f.verified.Differences = []Problem{{NewPath("a"), "content"}} },
			outcome: Aborted, reason: "^1 path is not equal at the destination, such as a: content$", thawed: 1, frozen: true,
		},
		"differences without names": {
			world:   func(f *fake) { f.verified.Different = 2 },
			outcome: Aborted, reason: "^2 paths are not equal at the destination$", thawed: 1, frozen: true,
		},
		"not compared": {
			world:   func(f *fake) { f.verified.Skipped = 1 },
			outcome: Aborted, reason: "^1 path could not be compared$", thawed: 1, frozen: true,
		},
		"not complete": {
			world:   func(f *fake) { f.verified.Complete = false },
			outcome: Aborted, reason: "not complete", thawed: 1, frozen: true,
		},
		"changed while it was compared": {
			world:   func(f *fake) { f.verified.Changed = 1 },
			outcome: Aborted, reason: "^1 path changed at the source", thawed: 1, frozen: true,
		},
		"written after the freeze": {
			world:   func(f *fake) { f.writes = Writes{Total: 3, First: []Path{NewPath("x"), NewPath("y")}} },
			outcome: Aborted, reason: "^the source was written after the freeze: x, y and 1 more$", thawed: 1, frozen: true,
		},
		"something is left": {
			world:   func(f *fake) { f.backlogs = []Backlog{{}, {Paths: 1}} },
			outcome: Aborted, reason: "^not everything is at the destination: 1 path, 0 B$", thawed: 1, frozen: true,
		},
		"open for writing before the freeze only": {
			world:   func(f *fake) { f.writers = []Writers{writer, {}} },
			outcome: Succeeded, reason: "^$", frozen: true,
		},
		"open for writing after the freeze": {
			world:   func(f *fake) { f.writers = []Writers{{}, writer} },
			outcome: Aborted, reason: `still open for writing after the freeze: app \(pid 7\): log$`, thawed: 1, frozen: true,
		},
		"opened for writing later": {
			world:   func(f *fake) { f.writers = []Writers{{}, {}, writer} },
			outcome: Aborted, reason: `app \(pid 7\)`, thawed: 1, frozen: true,
		},
		"the go hook fails": {
			world:   func(f *fake) { f.exit[GoHook] = 1 },
			outcome: Aborted, reason: "^the go hook failed: exit status 1$", thawed: 1, frozen: true,
		},
		"the go hook hangs": {
			world:   func(f *fake) { f.times["go"] = time.Hour },
			outcome: Aborted, reason: "^the go hook failed: it has not ended within the 5s", thawed: 1, frozen: true,
		},
		"the go hook wants it frozen": {
			world:   func(f *fake) { f.exit[GoHook] = StayFrozen },
			outcome: LeftFrozen, reason: "must not be thawed", frozen: true,
		},
		"the freeze hook cannot say so": {
			world:   func(f *fake) { f.exit[FreezeHook] = StayFrozen },
			outcome: Aborted, reason: "exit status 75", thawed: 1, frozen: true,
		},
		"the thaw hook fails": {
			world:   func(f *fake) { f.verified.Different = 1; f.exit[ThawHook] = 1 },
			outcome: LeftFrozen, reason: "not equal.*; and then the thaw hook failed: exit status 1", thawed: 1, frozen: true,
		},
		"the thaw hook hangs": {
			world:   func(f *fake) { f.verified.Different = 1; f.times["thaw"] = time.Hour },
			outcome: LeftFrozen, reason: "thaw hook failed: it has not ended within 10s", thawed: 1, frozen: true,
		},
		"no room for the report": {
			world: func(f *fake) {
				f.hit = func(_ context.Context, n int, name string) error {
					if name == "save" {
						return errBoom
					}
					return nil
				}
			},
			outcome: Aborted, reason: "^the report cannot be written: boom$",
		},
		"a plan of nonsense": {
			plan:    func(p *Plan) { p.ThawHook = "" },
			outcome: Aborted, reason: "nobody would thaw",
		},
		"the backlog does not become small": {
			plan:    func(p *Plan) { p.DrainTimeout = time.Minute },
			world:   func(f *fake) { f.backlogs = []Backlog{{Paths: 5000, Blocked: []string{"2 paths fail"}}} },
			outcome: Aborted, reason: "^the backlog has not become small within 1m0s; 2 paths fail$",
		},
		"small, but in the way": {
			plan:    func(p *Plan) { p.DrainTimeout = time.Minute },
			world:   func(f *fake) { f.backlogs = []Backlog{{Blocked: []string{"paused"}}} },
			outcome: Aborted, reason: "; paused$",
		},
		"as small as the writers let it be": {
			world: func(f *fake) {
				f.backlogs = append(slices.Repeat([]Backlog{{Paths: 5000, Freeze: 3 * time.Second}}, 11), Backlog{})
			},
			outcome: Succeeded, reason: "^$", frozen: true,
		},
		"the freeze would never fit": {
			world:   func(f *fake) { f.backlogs = []Backlog{{Paths: 1, Freeze: time.Hour}} },
			outcome: Aborted, reason: "^the freeze would take about 1h0m0s, and the budget leaves 15s",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, p, told := newFake(), plan(), new(told)
				if c.plan != nil {
					c.plan(&p)
				}
				if c.world != nil {
					c.world(f)
				}
				r := Run(t.Context(), f, Config{Plan: p, Emit: told.emit})
				if r.Outcome != c.outcome || !regexp.MustCompile(c.reason).MatchString(r.Reason) {
					t.Errorf("%s: %s; want %s: %s", r.Outcome, r.Reason, c.outcome, c.reason)
				}
				if got := f.count("thaw"); got != c.thawed {
					t.Errorf("thawed %d times, want %d", got, c.thawed)
				}
				if got := f.count("freeze") > 0; got != c.frozen {
					t.Errorf("freeze hook ran: %v, want %v", got, c.frozen)
				}
				invariants(t, f, p, r, told)
			})
		})
	}
}

func TestRehearsal(t *testing.T) {
	for name, c := range map[string]struct {
		world   func(*fake)
		outcome Outcome
		reason  string
	}{
		"fits": {nil, Fits, "^$"},
		"written meanwhile": {func(f *fake) {
			f.writes = Writes{Total: 9}
			f.verified.Changed = 4
			f.writers = []Writers{{Processes: []Writer{{PID: 1}}}}
			f.backlogs = []Backlog{{Paths: 9}}
		}, Fits, "^$"},
		"too long": {func(f *fake) { f.times["verify"] = 15 * time.Second }, Aborted,
			"^the freeze would take 16.0 s without the hooks, and the budget leaves 15s$"},
		"a difference": {func(f *fake) { f.verified.Different = 1 }, Aborted, "not equal"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, p, told := newFake(), plan(), new(told)
				p.Rehearse = true
				if c.world != nil {
					c.world(f)
				}
				r := Run(t.Context(), f, Config{Plan: p, Emit: told.emit})
				if r.Outcome != c.outcome || !regexp.MustCompile(c.reason).MatchString(r.Reason) {
					t.Errorf("%s: %s; want %s: %s", r.Outcome, r.Reason, c.outcome, c.reason)
				}
				if want := map[Outcome]int{Fits: 0, Aborted: 4}[c.outcome]; r.ExitStatus() != want {
					t.Errorf("exit status %d, want %d", r.ExitStatus(), want)
				}
				if c.outcome == Fits && r.PredictedSeconds != 3.01 {
					t.Errorf("predicted %v s", r.PredictedSeconds)
				}
				if len(f.hookEnv) != 0 || f.held || f.drained || f.count("hold") != 0 {
					t.Errorf("a rehearsal called %v", f.calls)
				}
				if r.FrozenSeconds != 0 {
					t.Errorf("frozen for %v s", r.FrozenSeconds)
				}
			})
		})
	}
}

// The operator sees each second that time passes, and how much is left.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, told := newFake(), new(told)
		f.times["verify"] = 5500 * time.Millisecond
		Run(t.Context(), f, Config{Plan: plan(), Emit: told.emit})
		var got []string
		for _, e := range told.events {
			if e.State == Verifying && !e.Fresh {
				got = append(got, e.Text)
			}
		}
		want := []string{
			"verifying for 1 s; 12 s of the freeze budget are left", "verifying for 2 s; 11 s of the freeze budget are left",
			"verifying for 3 s; 10 s of the freeze budget are left", "verifying for 4 s; 9 s of the freeze budget are left",
			"verifying for 5 s; 8 s of the freeze budget are left",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// While the go hook runs it is too late to interrupt.
func TestGoHookIsNotInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		ctx, cancel := context.WithCancelCause(t.Context())
		f.hit = func(_ context.Context, _ int, name string) error {
			if name == "go" {
				cancel(ErrInterrupted)
			}
			return nil
		}
		if r := Run(ctx, f, Config{Plan: plan()}); r.Outcome != Succeeded || f.count("thaw") != 0 {
			t.Errorf("%s: %s", r.Outcome, r.Reason)
		}
	})
}

func TestPlanTravels(t *testing.T) {
	for _, p := range []Plan{{}, plan(), {
		Rehearse: true, Verify: All, FreezeHook: "a 'ä' \"\n", GoHook: "\x01", ThawHook: "c", Budget: 1500 * time.Millisecond,
		GoTimeout: time.Second, ThawTimeout: time.Hour, DrainTimeout: 48 * time.Hour, Report: "/a b",
	}} {
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var got Plan
		if err := json.Unmarshal(data, &got); err != nil || got != p {
			t.Errorf("%s: %+v, %v", data, got, err)
		}
	}
	var p Plan
	if err := json.Unmarshal([]byte(`{"freeze_budget_seconds":1e300,"go_timeout_seconds":-1e300}`), &p); err != nil ||
		p.Budget <= 0 || p.Check() == nil {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestPlanErrors(t *testing.T) {
	for want, change := range map[string]func(*Plan){
		"nobody would thaw":    func(p *Plan) { p.ThawHook = "" },
		"it would never run":   func(p *Plan) { p.FreezeHook = "" },
		"nothing is left":      func(p *Plan) { p.GoTimeout = p.Budget },
		"negative":             func(p *Plan) { p.DrainTimeout = -1 },
		"is not absolute":      func(p *Plan) { p.Report = "r" },
		"no UTF-8":             func(p *Plan) { p.GoHook = "\xff" },
		`called "most"`:        func(p *Plan) { p.Verify = "most" },
		"(10s of 10s)":         func(p *Plan) { p.Budget, p.GoTimeout = 10*time.Second, 0 },
		"(10s of 5s): nothing": func(p *Plan) { p.Budget, p.GoTimeout = 5*time.Second, 10*time.Second },
	} {
		p := plan()
		change(&p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := (Plan{}).Check(); err != nil {
		t.Error(err)
	}
}

// Where nobody is told of writes the cutover goes on, and says that it does not know.
func TestUnseenWrites(t *testing.T) {
	for _, rehearse := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f, p := newFake(), plan()
			f.writes, p.Rehearse = Writes{Unseen: "it is nfs"}, rehearse
			r := Run(t.Context(), f, Config{Plan: p})
			if want := map[bool]Outcome{false: Succeeded, true: Fits}[rehearse]; r.Outcome != want {
				t.Errorf("%s: %s", r.Outcome, r.Reason)
			}
			if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "could not be noticed: it is nfs") {
				t.Errorf("warnings %q", r.Warnings)
			}
			var b strings.Builder
			if err := r.WriteText(&b); err != nil || !strings.Contains(b.String(), "written   NOT KNOWN") ||
				strings.Contains(b.String(), "written   nothing") {
				t.Errorf("%v\n%s", err, &b)
			}
		})
	}
}
