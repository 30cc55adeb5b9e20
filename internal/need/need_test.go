package need

import (
	"runtime"
	"testing"
)

// ended is how a test ended.
type ended struct {
	testing.TB
	how string
}

func (e *ended) Helper()      {}
func (e *ended) Fatal(...any) { e.how = "failed"; runtime.Goexit() }
func (e *ended) Skip(...any)  { e.how = "skipped"; runtime.Goexit() }

// What is missing fails a test in CI, and skips it elsewhere.
func TestProgramThatIsMissing(t *testing.T) {
	for ci, want := range map[string]string{"true": "failed", "": "skipped"} {
		t.Setenv("CI", ci)
		e := &ended{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			Program(e, "a program that nobody has")
		}()
		<-done
		if e.how != want {
			t.Errorf("CI=%q: %q, want %s", ci, e.how, want)
		}
	}
}
