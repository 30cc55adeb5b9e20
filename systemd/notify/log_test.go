package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// speak logs what has to come out well.
func speak(l *slog.Logger) {
	l.Debug("batch sent", "files", 3)
	l.Info("live")
	l.Log(context.Background(), slog.LevelInfo+2, "notice")
	l.Warn("a\nb", "path", "x y\n")
	l.With("target", "h").WithGroup("g").With("a", 1).Error("lost", "err", errors.New("cut off"), "msg", "m")
	l.Log(context.Background(), slog.LevelError+4, "\x1b[2J\xff")
	l.With("target", "h").Info("only by With")
}

func TestJournalLines(t *testing.T) {
	var b strings.Builder
	speak(slog.New(newHandler(&b, slog.LevelDebug, true)))
	want := `<7>batch sent files=3
<6>live
<5>notice
<4>"a\nb" path="x y\n"
<3>lost target=h g.a=1 g.err="cut off" g.msg=m
<2>"\x1b[2J\xff"
<6>only by With target=h
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTextLines(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "1:2")
	var b strings.Builder
	speak(Logger(&b, slog.LevelInfo))
	got := regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d) `).ReplaceAllString(b.String(), "TIME ")
	want := `TIME INFO  live
TIME INFO+2 notice
TIME WARN  "a\nb" path="x y\n"
TIME ERROR lost target=h g.a=1 g.err="cut off" g.msg=m
TIME ERROR+4 "\x1b[2J\xff"
TIME INFO  only by With target=h
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLevelCanBeChanged(t *testing.T) {
	var b strings.Builder
	var level slog.LevelVar
	l := Logger(&b, &level)
	l.Debug("no")
	level.Set(slog.LevelDebug)
	l.Debug("yes")
	if strings.Contains(b.String(), "no") || !strings.Contains(b.String(), "yes") {
		t.Error(b.String())
	}
}

func TestIsJournal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	closed, err := os.Open(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	stream := fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	for _, c := range []struct {
		name   string
		w      io.Writer
		stream string
		want   bool
	}{
		{"the journal", f, stream, true},
		{"redirected since", f, fmt.Sprintf("%d:%d", st.Dev, st.Ino+1), false},
		{"no journal", f, "", false},
		{"nonsense", f, "x", false},
		{"not a file", io.Discard, stream, false},
		{"closed", closed, stream, false},
	} {
		if got := isJournal(c.w, c.stream); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	t.Setenv("JOURNAL_STREAM", stream)
	Logger(f, slog.LevelInfo).Info("seen")
	if got, _ := os.ReadFile(f.Name()); string(got) != "<6>seen\n" {
		t.Errorf("got %q", got)
	}
}

// Lines of many goroutines and of derived loggers do not mix.
func TestLinesAreWhole(t *testing.T) {
	var b strings.Builder
	l := slog.New(newHandler(&b, slog.LevelInfo, true))
	var all sync.WaitGroup
	for i := range 10 {
		l := l.With("i", i)
		all.Go(func() {
			for range 100 {
				l.Info("line", "tail", "end")
			}
		})
	}
	all.Wait()
	lines := regexp.MustCompile(`(?m)^<6>line i=\d tail=end$`).FindAllString(b.String(), -1)
	if len(lines) != 1000 || strings.Count(b.String(), "\n") != 1000 {
		t.Errorf("%d whole lines of %d", len(lines), strings.Count(b.String(), "\n"))
	}
}
