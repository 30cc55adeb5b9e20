package rsync_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsynctest"
)

// TestCut cuts the connection to a real daemon after ever more bytes of either direction. Each time there must be an
// error, or a session that was over; and what is reported as acknowledged must be in place.
func TestCut(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	proxy := rsynctest.Proxy(t, s.Addr(), rsynctest.Faults{})
	dest, err := rsync.ParseDest(proxy.URL("m"))
	must(t, err)
	files := map[string]string{"one": "1", "two": strings.Repeat("2", 700), "dir/three": noise(3, 900), "dir/four": ""}
	delta := noise(5, 3000)

	run := func(n int, f rsynctest.Faults) (complete bool, up, down int64) {
		path := fmt.Sprintf("cut%d", n)
		dst := filepath.Join(s.Dir("m"), path)
		write(t, filepath.Join(dst, "delta"), delta[:1000]+"old"+delta[1003:])
		d := &rsync.Dialer{Dest: dest}
		d.Dest.Path = path
		b := fakeBatch(nil, "one", "two", "dir/three", "dir/four", "delta", "gone")
		for i := range b.Entries {
			b.Entries[i].Size = int64(len(files[b.Entries[i].Path]))
		}
		b.Entries = append(b.Entries, flist.Entry{Path: "dir", Mode: 0o040755, Mtime: 1_600_000_000},
			flist.Entry{Path: "link", Mode: 0o120777, Target: "one", Mtime: 1_600_000_000})
		b.Open = func(i int) (rsync.File, error) {
			switch p := b.Entries[i].Path; p {
			case "gone":
				return nil, os.ErrNotExist
			case "delta":
				return fake(delta), nil
			default:
				return fake(files[p]), nil
			}
		}
		upBefore, downBefore := proxy.Bytes()
		proxy.Set(f)
		o := archive()
		o.Acks = true
		sess, err := d.Connect(t.Context(), o)
		if err == nil {
			var r *rsync.Report
			r, err = sess.Send(t.Context(), b)
			if (err == nil) != r.Complete {
				t.Errorf("%+v: complete %v with error %v", f, r.Complete, err)
			}
			complete = r.Complete
			for i, res := range r.Results {
				if e := &b.Entries[i]; res.State == rsync.Acked {
					checkInPlace(t, filepath.Join(dst, e.Path), e, files[e.Path], delta)
				} else if complete && e.Path != "gone" {
					t.Errorf("%+v: complete and %s is %v: %v", f, e.Path, res.State, res.Err)
				}
			}
		}
		if _, ok := errors.AsType[*rsync.Error](err); err != nil && !ok {
			t.Errorf("%+v: error %v (%T)", f, err, err)
		}
		up, down = proxy.Bytes()
		return complete, up - upBefore, down - downBefore
	}

	ok, up, down := run(0, rsynctest.Faults{})
	if !ok {
		t.Fatal("does not work without a cut")
	}
	n, whole := 0, 0
	const upStep, downStep = 61, 17 // bytes; together some hundred sessions
	for cut := int64(1); cut < up; cut += upStep {
		n++
		if ok, _, _ := run(n, rsynctest.Faults{CutUp: cut}); ok {
			whole++
		}
	}
	for cut := int64(1); cut < down; cut += downStep {
		n++
		if ok, _, _ := run(n, rsynctest.Faults{CutDown: cut}); ok {
			whole++
		}
	}
	if whole > 2 {
		t.Errorf("%d of %d sessions were complete though cut", whole, n)
	}
	checkGoroutines(t)
}

func checkInPlace(t *testing.T, name string, e *flist.Entry, content, delta string) {
	t.Helper()
	switch {
	case e.IsDir():
		if fi, err := os.Stat(name); err != nil || !fi.IsDir() {
			t.Errorf("%s is acked: %v", name, err)
		}
	case e.Target != "":
		if target, err := os.Readlink(name); target != e.Target {
			t.Errorf("%s is acked: to %q, %v", name, target, err)
		}
	default:
		if e.Path == "delta" {
			content = delta
		}
		if got, err := os.ReadFile(name); string(got) != content {
			t.Errorf("%s is acked: %d bytes of %d, %v", name, len(got), len(content), err)
		}
	}
}
