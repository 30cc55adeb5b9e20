package transfer

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/scan"
)

// What was compared by checksum and did not change since counts as proven; everything else is named.
func TestCensus(t *testing.T) {
	src := t.TempDir()
	for _, name := range []string{"d/proven", "d/stale", "d/unproven", "gone"} {
		write(t, filepath.Join(src, name), name)
	}
	old(t)
	url, _, _ := daemon(t, rsynctest.Config{})
	state := t.TempDir()
	first, _ := remembered(t, src, url, state)
	if first.Failed > 0 {
		t.Fatal("the first pass failed")
	}
	f := follow(t, src, url, remembering(t, state))
	rests(t, f)
	s := f.cfg.Catalogue
	root, err := scan.OpenRoot(src)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	prove := func(name string, at int64) {
		t.Helper()
		st, _, err := root.Stat(name)
		if err == nil {
			err = s.Apply(catalogue.Verified(name, VersionOf(&st), at, [16]byte{1}, catalogue.XXH128))
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Proven(s, name, &st); got != at || err != nil {
			t.Fatalf("%s was proven at %d, %v", name, got, err)
		}
		st.CtimeNsec++
		if got, _ := Proven(s, name, &st); got != 0 {
			t.Errorf("another version of %s is proven", name)
		}
	}
	now := time.Now().Unix()
	prove("d/proven", now-100)
	prove("d/stale", now-200)
	prove("gone", now)
	// Nobody tells the engine: it is the pass that finds it.
	write(t, filepath.Join(src, "d/stale"), "other content")
	if err := os.Remove(filepath.Join(src, "gone")); err != nil {
		t.Fatal(err)
	}

	if err := f.Recount(t.Context()); err != nil {
		t.Fatal(err)
	}
	rests(t, f)
	c, known, err := f.Census(t.Context())
	if err != nil || !known {
		t.Fatal(known, err)
	}
	slices.Sort(c.Unproven)
	if c.Files != 1 || c.Bytes != int64(len("d/proven")) || c.Oldest != now-100 || c.Entries != 5 || c.Many {
		t.Errorf("%+v", c)
	}
	// The directories have other times now: d by nobody, the root because of what is gone.
	if want := []string{".", "d/stale", "d/unproven", "gone"}; !slices.Equal(c.Unproven, want) {
		t.Errorf("not proven are %q, want %q", c.Unproven, want)
	}
	if _, known, _ := f.Census(t.Context()); known {
		t.Error("a census was taken twice")
	}
}

// rests waits until nothing is left to do.
func rests(t testing.TB, f *follower) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		if s, err := f.Snapshot(t.Context()); err == nil && s.Idle {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not come to rest")
		}
	}
}
