package chmod

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/rsynctest"
)

func TestApply(t *testing.T) {
	for _, c := range []struct {
		changes          string
		mode, want, umsk uint32
	}{
		{"u+x", unix.S_IFREG | 0o644, unix.S_IFREG | 0o744, 0},
		{"D2775,F664", unix.S_IFREG | 0o4755, unix.S_IFREG | 0o664, 0},
		{"D2775,F664", unix.S_IFDIR | 0o700, unix.S_IFDIR | 0o2775, 0},
		{"Dg+s,ug+w,Fo-w,+X", unix.S_IFDIR | 0o505, unix.S_IFDIR | 0o2735, 0o022 &^ 0o020},
		{"+rwx", unix.S_IFREG, unix.S_IFREG | 0o750, 0o027},
		{"=rwx", unix.S_IFREG | 0o777, unix.S_IFREG | 0o750, 0o027},
		{"F-x,+X", unix.S_IFREG | 0o100, unix.S_IFREG | 0o111, 0},
		{"g=u", unix.S_IFREG | 0o6750, unix.S_IFREG | 0o4770, 0},
		{"0", unix.S_IFLNK | 0o777, unix.S_IFLNK | 0o777, 0},
		{"777", unix.S_IFSOCK | 0o700, unix.S_IFSOCK | 0o777, 0},
		{"777", 0, 0, 0},
	} {
		changes, err := Parse(c.changes, c.umsk)
		if err != nil {
			t.Errorf("%s: %v", c.changes, err)
			continue
		}
		if got := changes.Apply(c.mode); got != c.want {
			t.Errorf("%s: %#o becomes %#o, want %#o", c.changes, c.mode, got, c.want)
		}
	}
	if mode := (Changes{}).Apply(unix.S_IFREG | 0o123); mode != unix.S_IFREG|0o123 || !(Changes{}).None() {
		t.Errorf("no changes make %#o", mode)
	}
}

func TestRefused(t *testing.T) {
	for _, s := range []string{"", ",", "u+x,", "u+r-w", "8", "77777", "10000", "D", "DF755", "FDu+x", "u755", "u+q", "q+r", "g=ur",
		"g=uo", "a=a", "X", "Xu+r", "u+D", "D755F", "u=755", "u+r u", " u+r", "99999999999999999999999", "u+x\x00"} {
		if c, err := Parse(s, 0); err == nil {
			t.Errorf("%q is %+v", s, c)
		}
	}
}

// random is a change, or nearly one.
func random(rng *rand.Rand) string {
	some := func(letters string, most int) (s string) {
		for range rng.IntN(most + 1) {
			s += string(letters[rng.IntN(len(letters))])
		}
		return s
	}
	switch rng.IntN(8) {
	case 0:
		return fmt.Sprintf("%s%o", some("DF", 1), rng.IntN(0o11000))
	case 1:
		return some("DFugoa", 2) + some("+-=", 1) + some("ugorwxXsta7", 2)
	case 2:
		return some("DF", 1) + some("ugoa", 2) + string("+-="[rng.IntN(3)]) + string("ugo"[rng.IntN(3)])
	}
	return some("DF", 1) + some("ugoa", 2) + string("+-="[rng.IntN(3)]) + some("rwxXst", 3)
}

// What rsync makes of modes, these make of them too.
func TestAsRsync(t *testing.T) {
	rsync := rsynctest.Rsync(t)
	rng := rand.New(rand.NewPCG(1, 1))
	src := t.TempDir()
	modes := []fs.FileMode{0, 0o644, 0o755, 0o751, 0o070, 0o007, 0o420, 0o777}
	special := []fs.FileMode{0, fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky, fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky}
	n := 0
	for _, m := range modes {
		for _, s := range special {
			file, dir := filepath.Join(src, fmt.Sprint("f", n)), filepath.Join(src, fmt.Sprint("d", n))
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{file, dir} {
				if err := os.Chmod(name, m|s); err != nil {
					t.Fatal(err)
				}
			}
			n++
		}
	}
	taken := 0
	for range 60 {
		text := random(rng)
		for rng.IntN(3) == 0 {
			text += "," + random(rng)
		}
		dst := t.TempDir()
		err := exec.Command(rsync, "-rp", "--chmod="+text, src+"/", dst+"/").Run()
		changes, refused := Parse(text, Umask())
		if (err == nil) != (refused == nil) {
			t.Errorf("%q: %v, rsync: %v", text, refused, err)
			continue
		}
		if err != nil {
			continue
		}
		taken++
		for i := range n {
			for _, kind := range "fd" {
				name := fmt.Sprint(string(kind), i)
				from, to := modeOf(t, filepath.Join(src, name)), modeOf(t, filepath.Join(dst, name))
				if got := changes.Apply(from); got != to {
					t.Errorf("%q: %#o becomes %#o, with rsync %#o", text, from, got, to)
				}
			}
		}
	}
	if taken < 20 {
		t.Errorf("only %d were changes", taken)
	}
}

func modeOf(t *testing.T, name string) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Mode
}

func TestUmask(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if got, want := 0o666&^Umask(), modeOf(t, name)&0o777; got != want {
		t.Errorf("the umask is %#o, but a file has mode %#o", Umask(), want)
	}
}

// Whatever is taken changes permissions, and nothing else of a mode.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"u+x", "D2775,F664", "Dg+s,ug+w,Fo-w,+X", "g=u,o=", "uDo-t", "=", "-X"} {
		f.Add(s, uint32(0o644), uint32(0o022))
	}
	f.Fuzz(func(t *testing.T, s string, perm, umask uint32) {
		c, err := Parse(s, umask&0o777)
		if err != nil {
			return
		}
		if c.String() != s || c.None() {
			t.Errorf("%q reads as %q", s, c)
		}
		for _, kind := range []uint32{unix.S_IFREG, unix.S_IFDIR, unix.S_IFBLK} {
			mode := kind | perm&0o7777
			if got := c.Apply(mode); got&^0o7777 != kind {
				t.Errorf("%q: %#o becomes %#o", s, mode, got)
			}
		}
	})
}
