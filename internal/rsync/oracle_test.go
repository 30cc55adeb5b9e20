package rsync_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsynctest"
)

// oracle runs the real rsync and returns its lines, sorted, directories without their slash.
func oracle(t testing.TB, args ...string) []string {
	t.Helper()
	out, err := exec.Command(rsynctest.Rsync(t), args...).Output()
	if err != nil {
		t.Fatalf("rsync %q: %v\n%s", args, err, out)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSuffix(line, "\n")
		if name := strings.TrimSuffix(line, "/"); name != "" && !strings.HasPrefix(line, "*") {
			line = name
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// TestDryRun reports what would be done, in rsync's own letters, and does nothing.
func TestDryRun(t *testing.T) {
	each(t, func(t *testing.T, s *rsynctest.Server, d *rsync.Dialer, dst string, o rsync.Options) {
		if o.Protocol < 29 {
			t.Skip("no items before protocol 29")
		}
		src := t.TempDir()
		for _, f := range []string{"new", "d/new", "size", "same"} {
			write(t, filepath.Join(src, f), "content")
		}
		must(t, os.Symlink("x", filepath.Join(src, "sym")))
		write(t, filepath.Join(dst, "size"), "other")
		write(t, filepath.Join(dst, "extra"), "x")
		must(t, os.Chmod(src, 0o711))
		before := tree(t, dst)

		cmd := []string{"-naii", "--no-i-r", "--delete", "--out-format=%i %n", "--protocol=" + fmt.Sprint(o.Protocol),
			fmt.Sprintf("--modify-window=%d", o.ModifyWindow), src + "/", d.Dest.String() + "/"}
		want := oracle(t, cmd...)
		o.DryRun, o.Delete, o.Itemize = true, true, true
		b := treeBatch(t, src)
		b.Entries[0].Dir = flist.Content
		rec := &recorder{entries: b.Entries}
		b.Events = rec
		r := send(t, d, o, b)
		if !r.Complete || r.ExitCode != 0 {
			t.Errorf("complete %v, exit code %d", r.Complete, r.ExitCode)
		}
		var got []string
		for _, name := range rec.deleted {
			got = append(got, rsync.Deleting+" "+name)
		}
		got = append(got, rec.items...)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("items (-rsync +ours):\n%s", diff)
		}
		if diff := cmp.Diff(before, tree(t, dst)); diff != "" {
			t.Errorf("destination changed:\n%s", diff)
		}
	})
}
