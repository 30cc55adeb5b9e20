package daemon

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A disk that refuses ten thousand deletions a hundred times is worth a few lines a minute.
func TestWarningsAreFewAndNotRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := notes{log: slog.New(slog.NewTextHandler(&log, nil))}
		for range 100 {
			for i := range 10_000 {
				n.say(fmt.Sprintf("unlink(%d) failed", i))
			}
		}
		if lines := strings.Count(log.String(), "\n"); lines != mostNotes {
			t.Errorf("%d lines in no time:\n%.1000s", lines, log.String())
		}
		log.Reset()
		<-time.After(noteEvery)
		n.say("unlink(0) failed")
		for _, want := range []string{"unlink(0)", fmt.Sprint("count=", 100*(10_000-mostNotes))} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("no %q a minute later:\n%s", want, log.String())
			}
		}
	})
}
