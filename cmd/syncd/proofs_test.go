package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/verify"
	"github.com/syncd/syncd/transfer"
)

// interrupting is a verdict that interrupts the comparison.
type interrupting struct {
	textVerdict
	first func()
	notes []string
	found []string
}

func (i *interrupting) Equal(string, verify.Proof) { i.first() }

func (i *interrupting) Different(d verify.Difference) { i.found = append(i.found, d.Path) }

func (i *interrupting) Note(s string) { i.notes = append(i.notes, s) }

// A comparison that was interrupted goes on where it was; one that came to its end is not believed by the next one.
func TestVerifyGoesOn(t *testing.T) {
	const files = 50
	src, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	for i := range files {
		if err := os.WriteFile(filepath.Join(src, fmt.Sprint("f", i)), []byte("content"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-time.Hour)
	server := rsynctest.Daemon(t, rsynctest.Config{})
	dst := filepath.Join(server.Dir("m"), "dest")
	command := func(args ...string) []string {
		return append(args, "-a", "--delete", "--state-dir="+state, src, server.URL("m/dest"))
	}
	full := func() {
		t.Helper()
		var errs strings.Builder
		s := streams{strings.NewReader(""), io.Discard, &errs}
		if got := run(t.Context(), command("--full"), s, os.Getenv); got != exitDone || errs.Len() > 0 {
			t.Fatalf("full: status %d: %s", got, &errs)
		}
	}
	compared := func(interrupt bool, args ...string) (verify.Summary, *interrupting, error) {
		t.Helper()
		c, err := config.Parse(command(append([]string{"--verify"}, args...)...), os.Getenv, strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		v := &interrupting{first: func() {}}
		if interrupt {
			v.first = cancel
		}
		s := streams{strings.NewReader(""), io.Discard, io.Discard}
		sum, err := compare(ctx, c, s, v, newPrinter(s.out), newConsole(s.err))
		return sum, v, err
	}
	noted := func(v *interrupting, words string) bool { return strings.Contains(strings.Join(v.notes, "\n"), words) }

	for i := range files {
		if err := os.Chtimes(filepath.Join(src, fmt.Sprint("f", i)), old, old); err != nil {
			t.Fatal(err)
		}
	}
	full()
	<-time.After(2100 * time.Millisecond) // a version that has only just changed may stand for other content: it is never proven
	for range 2 {                         // what was proven in the second in which it began does not count
		nextSecond()
		if _, _, err := compared(true); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	sum, v, err := compared(false)
	if err != nil || sum.Proven == 0 || sum.Proven+sum.Files != files || !noted(v, "interrupted") {
		t.Errorf("%+v, %v: %q", sum, err, v.notes)
	}

	// Nobody hears of this but who reads it.
	flipped := filepath.Join(dst, "f7")
	if err := errors.Join(os.WriteFile(flipped, []byte("CONTENT"), 0o644), os.Chtimes(flipped, old, old)); err != nil {
		t.Fatal(err)
	}
	sum, v, err = compared(false)
	if err != nil || sum.Proven != 0 || sum.Files != files || len(v.found) != 1 || v.found[0] != "f7" || len(v.notes) > 0 {
		t.Errorf("%+v, %v: found %q, said %q", sum, err, v.found, v.notes)
	}
	// What it found, the next pass does not take for known.
	full()
	if sum, v, err = compared(true); !errors.Is(err, context.Canceled) || sum.Different() > 0 {
		t.Errorf("%+v, %v: found %q", sum, err, v.found)
	}
	if sum, v, err = compared(false, "--recheck"); err != nil || sum.Proven != 0 || sum.Files != files || len(v.notes) > 0 {
		t.Errorf("with --recheck: %+v, %v: %q", sum, err, v.notes)
	}

	// A catalogue of something else stays as it is.
	if sum, v, err = compared(false, "--numeric-ids"); err != nil || sum.Files != files || !noted(v, "it is left alone") {
		t.Errorf("with another option: %+v, %v: %q", sum, err, v.notes)
	}
	full() // which says nothing: the catalogue is known to it

	held, _, err := catalogue.Open(filepath.Join(state, transfer.CatalogueName), nil, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if _, _, err := compared(false); !errors.As(err, new(*catalogue.LockedError)) {
		t.Errorf("while another one has it: %v", err)
	}
}

// nextSecond waits for it.
func nextSecond() {
	for now := time.Now().Unix(); time.Now().Unix() == now; {
		<-time.After(20 * time.Millisecond)
	}
}
