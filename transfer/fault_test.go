package transfer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// asNobody runs f with the rights over files of a user who is not root, in the whole process: permissions bind then.
func asNobody(t *testing.T, src string, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	for dir := src; dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	if err := syscall.Setresuid(-1, nobody, -1); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setresuid(-1, 0, -1); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// Connections that break anywhere, in either direction, cost tries, not the pass.
func TestCutConnectionsCostATryNotThePass(t *testing.T) {
	for seed := range seeds(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 21))
			src := t.TempDir()
			treetest.Random(t, rng, src, 200)
			_, dst, s := daemon(t, rsynctest.Config{})
			relay := rsynctest.Proxy(t, s.Addr(), rsynctest.Faults{})
			for round := range 3 {
				c, rec := config(t, src, relay.URL("m/dest"), deleting)
				c.Session.Checksum = true
				c.tuning.entries = 20 + rng.IntN(200)
				e, err := New(c)
				if err != nil {
					t.Fatal(err)
				}
				first := true
				e.dest = meddler{e.dest, func() {
					if !first { // the first session must succeed: before it nobody knows whether the address is right
						relay.Set(cut(rng))
					}
					first = false
				}}
				if err := e.Run(context.Background()); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
				rec.clean(t)
				relay.Set(rsynctest.Faults{})
				equal(t, src, dst)
				treetest.Mutate(t, rng, src, 40)
			}
		})
	}
}

// cut makes the next connection break somewhere, or not.
func cut(rng *rand.Rand) rsynctest.Faults {
	at := int64(1) << rng.IntN(18)
	at += rng.Int64N(at)
	switch rng.IntN(3) {
	case 0:
		return rsynctest.Faults{CutUp: at, Connections: 1}
	case 1:
		return rsynctest.Faults{CutDown: at, Connections: 1}
	}
	return rsynctest.Faults{}
}

func TestRefusedPathsLeaveTheRest(t *testing.T) {
	src := t.TempDir()
	for i := range 50 {
		write(t, filepath.Join(src, "ok", fmt.Sprint(i)), fmt.Sprint(i))
	}
	write(t, filepath.Join(src, "secret/x.bad"), "refused by the module's filter")
	write(t, filepath.Join(src, "secret/fine"), "fine")
	url, dst, _ := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Options: map[string]string{"exclude": "*.bad"}}}})
	sum, rec := pass(t, src, url, nil)
	if sum.Failed != 1 || !words(rec.failed["secret/x.bad"], "refused") {
		t.Errorf("failed %v; want the one path with the daemon's words", rec.failed)
	}
	if err := os.Remove(filepath.Join(src, "secret/x.bad")); err != nil {
		t.Fatal(err)
	}
	pass(t, src, url, nil)
	equal(t, src, dst)
}

func TestFullDestinationTakesWhatFits(t *testing.T) {
	need.Root(t) // to mount a small file system
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(small, syscall.MNT_DETACH) })
	src := t.TempDir()
	for i := range 40 {
		write(t, filepath.Join(src, "small", fmt.Sprint(i)), strings.Repeat("x", 1000))
	}
	write(t, filepath.Join(src, "a-big"), strings.Repeat("big", 3<<20))
	url, dst, _ := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: small}}})
	c, rec := config(t, src, url, nil)
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(context.Background()); err != nil && kindOf(err) != rsync.KindDiskFull {
		t.Fatal(err)
	}
	if !words(rec.failed["a-big"], "No space left") {
		t.Errorf("failed: %v; want a-big for no space", rec.failed)
	}
	for i := range 40 {
		if !exists(t, filepath.Join(dst, "small", fmt.Sprint(i))) {
			t.Fatalf("small/%d is not there: %v", i, rec.failed)
		}
	}
	if exists(t, filepath.Join(dst, "a-big")) {
		t.Error("half a file under its final name")
	}
}

// Without inodes each file that cannot be made is named, and the pass ends. (Asked for acknowledgements, stock rsync 3.5
// stops for ever in this place.)
func TestDestinationWithoutInodesEndsThePass(t *testing.T) {
	need.Root(t) // to mount a small file system
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=8m,nr_inodes=40"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(small, syscall.MNT_DETACH) })
	src := t.TempDir()
	for i := range 200 {
		write(t, filepath.Join(src, "d", fmt.Sprintf("%03d", i)), "x")
	}
	url, dst, _ := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: small}}})
	sum, rec := pass(t, src, url, nil)
	there := int64(0)
	for i := range 200 {
		if exists(t, filepath.Join(dst, "d", fmt.Sprintf("%03d", i))) {
			there++
		}
	}
	if there == 0 || sum.Failed != 200-there {
		t.Errorf("%d of 200 are there, %d failed", there, sum.Failed)
	}
	for p, err := range rec.failed {
		if !words(err, "No space left") {
			t.Fatalf("%s failed: %v", p, err)
		}
	}
}

// A file that changes while it is read is sent again until one version was sent whole.
func TestFileChangedWhileSentIsSentAgain(t *testing.T) {
	src := t.TempDir()
	victim := filepath.Join(src, "victim")
	write(t, victim, strings.Repeat("a", 100_000))
	url, dst, _ := daemon(t, rsynctest.Config{})
	c, rec := config(t, src, url, nil)
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	times := 0
	e.dest = meddler{e.dest, func() {
		if times++; times == 2 { // the first session that is about the file
			write(t, victim, strings.Repeat("b", 100_001))
		}
	}}
	if err := e.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	rec.clean(t)
	equal(t, src, dst)
	if times < 3 {
		t.Errorf("%d sessions; the change was not noticed", times)
	}
}

// meddler does something before each session, in one of them at a time.
type meddler struct {
	destination
	meddle func()
}

var meddling sync.Mutex

func (m meddler) Send(ctx context.Context, b *rsync.Batch, o rsync.Options) (*rsync.Report, error) {
	meddling.Lock()
	m.meddle()
	meddling.Unlock()
	return m.destination.Send(ctx, b, o)
}

func TestVanishedFileIsDeletedThere(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "d/stays"), "1")
	write(t, filepath.Join(src, "d/goes"), "2")
	url, dst, _ := daemon(t, rsynctest.Config{})
	pass(t, src, url, nil)
	write(t, filepath.Join(src, "d/goes"), "changed, so that it is asked for")
	c, rec := config(t, src, url, deleting)
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	gone := false
	e.dest = meddler{e.dest, func() {
		if !gone && e.counters.sessions.Load() == 2 { // the first has nothing but the root
			gone = true
			if err := os.Remove(filepath.Join(src, "d/goes")); err != nil {
				t.Error(err)
			}
		}
	}}
	if err := e.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	rec.clean(t)
	if exists(t, filepath.Join(dst, "d/goes")) {
		t.Error("what vanished here is still there")
	}
	if e.Summary().Vanished != 1 {
		t.Errorf("%d vanished, want 1", e.Summary().Vanished)
	}
}

func TestCancelEndsAtOnceAndLeavesNoGoroutine(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "big"), strings.Repeat("0123456789", 5<<20))
	_, dst, s := daemon(t, rsynctest.Config{})
	before := runtime.NumGoroutine()
	relay := rsynctest.Proxy(t, s.Addr(), rsynctest.Faults{})
	c, _ := config(t, src, relay.URL("m/dest"), nil)
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("the operator pressed ^C")
	e.dest = meddler{e.dest, func() {
		if e.counters.sessions.Load() >= 2 {
			relay.Stop()
			cancel(why)
		}
	}}
	if err := e.Run(ctx); !errors.Is(err, why) {
		t.Errorf("Run: %v, want the cause of the context", err)
	}
	relay.Close()
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			break
		}
		runtime.Gosched()
	}
	if exists(t, filepath.Join(dst, "big")) {
		t.Error("half a file under its final name")
	}
}

func TestLargeFileCutOffGoesOnWhereItWas(t *testing.T) {
	src := t.TempDir()
	data := make([]byte, 24<<20)
	rand.NewChaCha8([32]byte{2}).Read(data)
	write(t, filepath.Join(src, "big"), string(data))
	_, dst, s := daemon(t, rsynctest.Config{})
	relay := rsynctest.Proxy(t, s.Addr(), rsynctest.Faults{CutUp: 16 << 20, Connections: 9})
	sum, rec := pass(t, src, relay.URL("m/dest"), func(c *Config) {
		c.Delete, c.BigFile = true, 1<<20
		c.tuning.sessionBackoff = defaults.sessionBackoff // the server needs a moment to notice the cut and keep the part
	})
	rec.clean(t)
	equal(t, src, dst)
	if sum.Retries == 0 {
		t.Fatal("no session was cut")
	}
	// What the server had received before the cut is matched, not sent again; what was on the way is lost.
	if up, _ := relay.Bytes(); up > int64(len(data))+6<<20 {
		t.Errorf("%d bytes went to the server for a file of %d, in %d sessions", up, len(data), sum.Sessions)
	}
}
