package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
	"github.com/syncd/syncd/systemd/notify"
)

// lines is a log that can be searched.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, string(p))
	return len(p), nil
}

func (l *lines) with(word string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.text {
		if strings.Contains(line, word) {
			found = append(found, line)
		}
	}
	return found
}

func refused(t *testing.T, socket, value, want string) {
	t.Helper()
	_, err := control.Ask(context.Background(), socket, control.Request{Do: control.DoSet, Key: "allow-delete", Value: value})
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("allow-delete=%s: %v, want %q", value, err, want)
	}
}

func TestStormOfDeletionsWaitsForAYes(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	for i := range 100 {
		treetest.Write(t, src, treetest.File(fmt.Sprintf("d/f%02d", i), "x"))
	}
	treetest.Write(t, src, treetest.File("kept/file", "1"))
	s := rsynctest.Daemon(t, rsynctest.Config{})
	dst := filepath.Join(s.Dir("m"), "dest")
	log := &lines{}
	socket, _ := start(t, src, s.URL("m/dest"), func(c *Config) {
		c.Engine.MaxDelete, c.Engine.DeleteWindow = 30, time.Hour
		c.Log = notify.Logger(log, level())
	})
	waitFor(t, "the socket is there", func() bool { return answers(socket) })
	settled(t, socket, src, dst)
	refused(t, socket, "all", "no deletion is held")
	for _, value := range []string{"-1", "0", "some", ""} {
		refused(t, socket, value, "want how many")
	}

	for i := range 100 {
		if err := os.Remove(filepath.Join(src, fmt.Sprintf("d/f%02d", i))); err != nil {
			t.Fatal(err)
		}
	}
	held := func(left int) {
		t.Helper()
		waitFor(t, fmt.Sprintf("%d are held", left), func() bool {
			st := ask(t, socket, control.Request{Do: control.DoStatus}).Status
			return st.State == control.HeldDeletes && st.Held != nil && st.Held.Paths == int64(left) && st.Sessions.Running == 0
		})
		names, err := os.ReadDir(filepath.Join(dst, "d"))
		if err != nil || len(names) != left {
			t.Fatalf("%d files are left (%v), want %d", len(names), err, left)
		}
	}
	held(70)
	st := ask(t, socket, control.Request{Do: control.DoStatus}).Status
	if st.Held.Limit != 30 || !strings.Contains(st.Reason, "--max-delete allows 30 in 1h0m0s") || st.InSyncUpTo.After(st.Held.Since) {
		t.Errorf("status: %+v %q, in sync up to %v", st.Held, st.Reason, st.InSyncUpTo)
	}
	left, err := os.ReadDir(filepath.Join(dst, "d"))
	if err != nil {
		t.Fatal(err)
	}
	why := ask(t, socket, control.Request{Do: control.DoWhy, Path: "d/" + left[0].Name()}).Why
	if why.Verdict != control.HeldDelete {
		t.Errorf("--why says %+v", why)
	}
	treetest.Write(t, src, treetest.File("kept/new", "arrives"), treetest.File("d/new", "arrives too"))
	waitFor(t, "other changes arrive", func() bool {
		_, err := os.Stat(filepath.Join(dst, "kept/new"))
		_, err2 := os.Stat(filepath.Join(dst, "d/new"))
		return err == nil && err2 == nil
	})
	if err := os.Rename(filepath.Join(src, "d/new"), filepath.Join(src, "kept/new")); err != nil {
		t.Fatal(err)
	}
	held(71)
	ask(t, socket, control.Request{Do: control.DoSet, Key: "allow-delete", Value: "20"})
	held(51)
	ask(t, socket, control.Request{Do: control.DoSet, Key: "allow-delete", Value: "all"})
	settled(t, socket, src, dst)
	if said := log.with("held-deletes"); len(said) != 1 || !strings.Contains(said[0], "--max-delete allows 30") {
		t.Errorf("said %d times:\n%s", len(said), strings.Join(said, ""))
	}
}

func TestAllowDeleteWithoutALimit(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	treetest.Write(t, src, treetest.File("file", "1"))
	s := rsynctest.Daemon(t, rsynctest.Config{})
	socket, _ := start(t, src, s.URL("m/dest"))
	waitFor(t, "the socket is there", func() bool { return answers(socket) })
	settled(t, socket, src, filepath.Join(s.Dir("m"), "dest"))
	refused(t, socket, "5", "there is no limit of deletions")
}
