package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRun(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "x")
	t.Setenv("RSYNC_PASSWORD", "x")
	t.Setenv("KEPT", "yes")
	for name, c := range map[string]struct {
		line string
		want Result
		err  string
	}{
		"both outputs":   {"echo out; echo err >&2", Result{0, "out\nerr\n"}, ""},
		"nothing":        {":", Result{}, ""},
		"a status":       {"echo no; exit 75", Result{75, "no\n"}, "exit status 75"},
		"a signal":       {"kill -9 $$", Result{-1, ""}, "ended by signal 9 (killed)"},
		"no such":        {"exec /no/such", Result{127, "*"}, "exit status 127"},
		"environment":    {`echo "$A$KEPT$NOTIFY_SOCKET$RSYNC_PASSWORD"`, Result{0, "byes\n"}, ""},
		"where it is":    {"pwd", Result{0, "/\n"}, ""},
		"standard input": {"cat", Result{0, ""}, ""},
		"no line feed":   {"printf 'a\nb'", Result{0, "a\nb"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			got, err := Run(t.Context(), Command{
				Line: c.line, Env: []string{"A=b"}, Log: func(l string) { lines = append(lines, l) },
			})
			if text := fmt.Sprint(err); err != nil && text != c.err || (err == nil) != (c.err == "") {
				t.Errorf("%v, want %s", err, c.err)
			}
			if all := strings.Join(lines, "\n"); strings.TrimSuffix(got.Output, "\n") != all {
				t.Errorf("logged %q, kept %q", all, got.Output)
			}
			if c.want.Output == "*" {
				got.Output = "*"
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestNotStarted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errOver)
	mark := filepath.Join(t.TempDir(), "mark")
	if r, err := Run(ctx, Command{Line: "touch " + mark}); !errors.Is(err, errOver) || r.Exit != -1 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("it was run")
	}
}

var errOver = errors.New("it is over")

// cut runs line, and ends the context when it has said "ready". It returns the
// process id that stood behind that word.
func cut(t *testing.T, line string) (pid int, r Result, spent time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var over time.Time
	r, err := Run(ctx, Command{Line: line, Log: func(l string) {
		if _, err := fmt.Sscanf(l, "ready %d", &pid); err == nil {
			over = time.Now()
			cancel(errOver)
		}
	}})
	if !errors.Is(err, errOver) || over.IsZero() {
		t.Fatalf("%+v, %v", r, err)
	}
	return pid, r, time.Since(over)
}

func TestCutOff(t *testing.T) {
	for name, line := range map[string]string{
		"ends by itself":          `echo ready $$; sleep 100`,
		"a child":                 `sleep 100 & echo ready $!; wait`,
		"cleans up":               `trap 'echo clean; exit 1' TERM; echo ready $$; sleep 100 & wait`,
		"does not want to":        `trap '' TERM; echo ready $$; while :; do sleep 100; done`,
		"a child that does not":   `sh -c 'trap "" TERM; echo ready $$; while :; do sleep 100; done' & wait`,
		"a child that stays away": `setsid -f true; sh -c 'trap "" TERM; exec >/dev/null 2>&1; while :; do sleep 100; done' & echo ready $!; wait`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pid, r, spent := cut(t, line)
			// Not a bound of this package, but far below any hang.
			if spent > 30*time.Second {
				t.Errorf("it took %v to end", spent)
			}
			if strings.Contains(name, "clean") && !strings.Contains(r.Output, "clean\n") {
				t.Errorf("no time to clean up: %q", r.Output)
			}
			if !ends(pid) {
				t.Errorf("process %d goes on", pid)
			}
		})
	}
}

// ends waits for a process to be gone, or a zombie whose parent is another's affair.
func ends(pid int) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return true
		}
		<-tick.C
	}
	return false
}

// A service that is started and keeps the output does not keep us.
func TestLeavesOthersAlone(t *testing.T) {
	r, err := Run(t.Context(), Command{Line: `sleep 1000 & echo $!`})
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(r.Output, &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("what it left behind is gone: %v", err)
	}
}

func TestTail(t *testing.T) {
	for name, c := range map[string]struct {
		give func(o *output)
		want string
	}{
		"short":      {func(o *output) { o.add([]byte("a\nb")) }, "a\nb"},
		"just full":  {func(o *output) { o.add(bytes.Repeat([]byte("x"), tailSize)) }, strings.Repeat("x", tailSize)},
		"one line":   {func(o *output) { o.add(bytes.Repeat([]byte("x"), tailSize+1)) }, strings.Repeat("x", tailSize)},
		"whole ones": {func(o *output) { o.add([]byte(strings.Repeat("x", tailSize) + "\nend\n")) }, "end\n"},
		"a lot": {func(o *output) {
			for i := range 100000 {
				o.add(fmt.Appendf(nil, "%09d\n", i))
			}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := new(output)
			c.give(o)
			got := o.tail()
			if c.want == "" {
				if len(got) < tailSize-10 || len(got) > tailSize || !strings.HasSuffix(got, "\n000099999\n") || len(got)%10 != 0 {
					t.Errorf("%d bytes: %q", len(got), got[:40])
				}
				return
			}
			if got != c.want {
				t.Errorf("%.40q, want %.40q", got, c.want)
			}
		})
	}
}

func TestLongLines(t *testing.T) {
	var lines []int
	o := &output{log: func(l string) { lines = append(lines, len(l)) }}
	o.readFrom(strings.NewReader(strings.Repeat("x", 3*lineSize) + "\nab\n\nc"))
	if diff := cmp.Diff([]int{lineSize, lineSize, lineSize, 2, 0, 1}, lines); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
