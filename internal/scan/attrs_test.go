package scan

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/attr"
)

// setAttrs gives entries of dir attributes and returns what is to be found by name, "." for dir itself.
func setAttrs(t *testing.T, dir string) map[string]*attr.Attrs {
	t.Helper()
	set := func(name, a, value string) { ok(t, unix.Lsetxattr(filepath.Join(dir, name), a, []byte(value), 0)) }
	acl := &attr.ACL{User: 7, Group: 5, Other: 5, Mask: 5, Names: []attr.ACE{{ID: 12, Perm: 5}}}
	write(t, filepath.Join(dir, "f"), "x")
	write(t, filepath.Join(dir, "plain"), "x")
	ok(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	ok(t, os.Symlink("f", filepath.Join(dir, "link")))
	set(".", "user.of", "the directory")
	set("f", "user.long", strings.Repeat("v", 2000))
	set("f", "user.a", "")
	set("sub", "system.posix_acl_default", string(acl.Bytes()))
	want := map[string]*attr.Attrs{
		".":     {Set: attr.Set{attr.New("user.of", []byte("the directory"))}},
		"f":     {Set: attr.Set{attr.New("user.a", nil), attr.New("user.long", []byte(strings.Repeat("v", 2000)))}},
		"sub":   {Default: acl},
		"plain": nil,
		"link":  nil,
	}
	if os.Geteuid() == 0 {
		set("link", "trusted.t", "of the link")
		want["link"] = &attr.Attrs{Set: attr.Set{attr.New("trusted.t", []byte("of the link"))}}
	}
	return want
}

func TestAttrs(t *testing.T) {
	dir := t.TempDir()
	want := setAttrs(t, dir)
	bothWays(t, dir, func(t *testing.T, r *Root) {
		o := Options{Attrs: attr.Which{Xattrs: true, ACLs: true}}
		l, err := r.List(t.Context(), ".", o)
		ok(t, err)
		got := map[string]*attr.Attrs{".": l.Attrs}
		for _, e := range l.Entries {
			got[e.Name] = e.Attrs
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("listed (-want +got):\n%s", diff)
		}
		for name := range want {
			e, err := r.Lookup(name, o)
			ok(t, err)
			check(t, filepath.Join(dir, name), e.Stat, e.Target)
			if diff := cmp.Diff(want[name], e.Attrs); diff != "" || e.Name != name {
				t.Errorf("looked up %s as %s (-want +got):\n%s", name, e.Name, diff)
			}
		}
		if e, err := r.Lookup("f", Options{}); err != nil || e.Attrs != nil {
			t.Errorf("not asked for: %+v, %v", e.Attrs, err)
		}
		if v, err := r.Xattr("f", "user.long"); err != nil || len(v) != 2000 {
			t.Errorf("value of %d bytes, %v", len(v), err)
		}
		if _, err := r.Xattr("plain", "user.long"); !errors.Is(err, unix.ENODATA) {
			t.Errorf("no attribute: %v", err)
		}
		for _, path := range []string{"nope", "nope/f", "link/f", "f/f"} {
			if _, err := r.Lookup(path, o); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Lookup %s: %v", path, err)
			}
			if _, err := r.Xattr(path, "user.a"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Xattr %s: %v", path, err)
			}
		}
		for _, path := range []string{"../x", "/etc/passwd", ".."} {
			if _, err := r.Lookup(path, o); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("Lookup %s: %v", path, err)
			}
		}
	})
}

// An entry whose attributes cannot be read is an error of that entry: as if it had none would be a loss.
func TestAttrsThatCannotBeRead(t *testing.T) {
	dir := sharedDir(t)
	file := filepath.Join(dir, "secret")
	if os.Getenv("SCAN_TEST_DIR") == "" {
		write(t, file, "x")
		write(t, filepath.Join(dir, "open"), "x")
		ok(t, unix.Setxattr(file, "user.a", []byte("1"), 0))
		ok(t, os.Chmod(file, 0))
	}
	if !unprivileged(t, dir) {
		return
	}
	l, err := openRoot(t, dir).List(t.Context(), ".", Options{Attrs: attr.Which{Xattrs: true}})
	ok(t, err)
	if len(l.Entries) != 1 || len(l.Errors) != 1 || !errors.Is(l.Errors[0], fs.ErrPermission) || !errors.Is(l.Err, ErrIncomplete) {
		t.Errorf("entries %v, errors %v, err %v", l.Entries, l.Errors, l.Err)
	}
}
