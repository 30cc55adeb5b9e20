package openfiles

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/need"
)

// TestMain is also the process that is found: with arguments "open HOW PATH..." it
// opens files, says so, and waits until its input ends. With "look DIR" it looks as
// another user may.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "look" {
		found, unseen, err := Writers(context.Background(), Options{Dir: os.Args[2]})
		fmt.Println(len(found), unseen > 0, err)
		return
	}
	if len(os.Args) > 2 && os.Args[1] == "open" {
		if err := hold(os.Args[2], os.Args[3:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("ready")
		io.Copy(io.Discard, os.Stdin)
		return
	}
	os.Exit(m.Run())
}

func hold(how string, paths []string) error {
	for _, p := range paths {
		if err := holdOne(how, p); err != nil {
			return err
		}
	}
	return nil
}

func holdOne(how, path string) error {
	flags := map[string]int{"read": os.O_RDONLY, "write": os.O_WRONLY, "append": os.O_WRONLY | os.O_APPEND}
	flag, ok := flags[how]
	if !ok {
		flag = os.O_RDWR
	}
	fd, err := unix.Open(path, flag, 0)
	if err != nil {
		return err
	}
	prot := unix.PROT_READ | unix.PROT_WRITE
	switch how {
	case "unlink":
		return os.Remove(path)
	case "mapped":
		_, err = unix.Mmap(fd, 0, 4096, prot, unix.MAP_SHARED)
	case "private":
		_, err = unix.Mmap(fd, 0, 4096, prot, unix.MAP_PRIVATE)
	case "map-read":
		_, err = unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	default:
		return nil
	}
	unix.Close(fd) // the mapping keeps the file
	return err
}

// start runs a process that has files open until the test ends, by a command before
// it, if there is one. It returns the process id of the one that opens.
func start(t *testing.T, before []string, how string, paths ...string) int {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(slices.Clone(before), self, "open", how)
	cmd := exec.Command(args[0], append(args[1:], paths...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd.Process.Pid
}

// tree makes files of a page in a new directory.
func files(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		p := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, make([]byte, 4096), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// found maps process ids to files.
func found(t *testing.T, o Options) map[int][]string {
	t.Helper()
	all, _, err := Writers(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	m := map[int][]string{}
	for _, p := range all {
		m[p.PID] = p.Files
		if p.Total != len(p.Files) || p.Command == "" {
			t.Errorf("%+v", p)
		}
	}
	return m
}

func TestWriters(t *testing.T) {
	dir := files(t, "in/a b", "in/sub/x (deleted)", "in/new\nline", "in/m", "in/r", "in/p", "in/mr", "in/gone", "input/n", "out")
	in := filepath.Join(dir, "in")
	at := func(names ...string) []string {
		var all []string
		for _, n := range names {
			all = append(all, filepath.Join(dir, n))
		}
		return all
	}
	want := map[int][]string{
		start(t, nil, "write", at("in/a b", "in/sub/x (deleted)")...):  {"a b", "sub/x"},
		start(t, nil, "append", at("in/new\nline", "in/new\nline")...): {"new\nline"},
		start(t, nil, "write", at("in/new\nline", "in/a b", "out")...): {"a b", "new\nline"},
		start(t, nil, "mapped", at("in/m", "in/new\nline", "out")...):  {"m", "new\nline"},
	}
	start(t, nil, "read", at("in/r")...)
	start(t, nil, "map-read", at("in/mr")...)
	start(t, nil, "private", at("in/p")...)
	start(t, nil, "unlink", at("in/gone")...)
	start(t, nil, "write", at("input/n", "out")...)
	if diff := cmp.Diff(want, found(t, Options{Dir: in})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	// By another name of the directory itself.
	link := filepath.Join(dir, "link")
	if err := os.Symlink("in", link); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, found(t, Options{Dir: link})); diff != "" {
		t.Errorf("by a symlink: -want +got\n%s", diff)
	}
}

func TestNobody(t *testing.T) {
	if got := found(t, Options{Dir: files(t, "a")}); len(got) != 0 {
		t.Errorf("found %v", got)
	}
}

func TestHardLink(t *testing.T) {
	dir := files(t, "in/a", "in/b")
	for _, n := range []string{"a", "b"} {
		if err := os.Link(filepath.Join(dir, "in", n), filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(dir, "a"), &st); err != nil {
		t.Fatal(err)
	}
	pid := start(t, nil, "write", filepath.Join(dir, "a"), filepath.Join(dir, "b"))
	got := found(t, Options{Dir: filepath.Join(dir, "in"), Linked: func(dev, ino uint64) bool {
		return dev == uint64(st.Dev) && ino == st.Ino
	}})
	if diff := cmp.Diff(map[int][]string{pid: {filepath.Join(dir, "a")}}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// A process with mounts of its own, as in a container, and a mount below the tree.
func TestMounts(t *testing.T) {
	unshare, err := exec.LookPath("unshare")
	if err != nil || exec.Command(unshare, "--mount", "true").Run() != nil {
		need.Lacking(t, "unshare --mount cannot be run here")
	}
	dir := files(t, "in/a", "other/b", "mnt/x")
	for _, d := range []string{"in/mounted", "elsewhere"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	here := func(n string) string { return filepath.Join(dir, n) }
	// There it is another tree by name, and the tree's own names lead elsewhere.
	script := `mount --bind "$1/in" "$1/elsewhere" && mount --bind "$1/other" "$1/in" && shift && exec "$@"`
	apart := []string{unshare, "--mount", "sh", "-c", script, "sh", dir}
	inside := start(t, apart, "write", here("elsewhere/a"))
	start(t, apart, "write", here("in/b"))
	if diff := cmp.Diff(map[int][]string{inside: {"a"}}, found(t, Options{Dir: here("in")})); diff != "" {
		t.Errorf("another mount namespace: -want +got\n%s", diff)
	}

	if err := unix.Mount(here("other"), here("in/mounted"), "", unix.MS_BIND, ""); err != nil {
		need.Lacking(t, "mount: "+err.Error())
	}
	t.Cleanup(func() { unix.Unmount(here("in/mounted"), unix.MNT_DETACH) })
	below := start(t, nil, "write", here("other/b"))
	got := found(t, Options{Dir: here("in")})
	if diff := cmp.Diff([]string{"mounted/b"}, got[below]); diff != "" {
		t.Errorf("a mount below: -want +got\n%s", diff)
	}
	got = found(t, Options{Dir: here("in"), OneFileSystem: true})
	if diff := cmp.Diff([]int{inside}, slices.Collect(maps.Keys(got))); diff != "" {
		t.Errorf("one file system: -want +got\n%s", diff)
	}
}

func TestManyFiles(t *testing.T) {
	var names, paths []string
	for i := range MostFiles + 5 {
		names = append(names, fmt.Sprintf("f%02d", i))
	}
	dir := files(t, names...)
	for _, n := range names {
		paths = append(paths, filepath.Join(dir, n))
	}
	pid := start(t, nil, "write", paths...)
	all, _, err := Writers(t.Context(), Options{Dir: dir})
	if err != nil || len(all) != 1 || all[0].PID != pid || all[0].Total != len(names) {
		t.Fatalf("%+v, %v", all, err)
	}
	if diff := cmp.Diff(names[:MostFiles], all[0].Files); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	if _, _, err := Writers(t.Context(), Options{Dir: "/no/such"}); err == nil {
		t.Error("no error for a directory that is not there")
	}
}

// Whoever may not look at others says so.
func TestUnseen(t *testing.T) {
	if os.Getuid() != 0 {
		need.Lacking(t, "needs root, to become somebody else")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "openfiles")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	copied := filepath.Join(dir, "look")
	for _, err := range []error{os.WriteFile(copied, program, 0o755), os.Chmod(dir, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(copied, "look", "/")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.Output(); err != nil || !strings.HasSuffix(string(out), " true <nil>\n") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestMountsOfATable(t *testing.T) {
	table := filepath.Join(t.TempDir(), "mountinfo")
	text := `22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 8:2 /sub\040dir /mnt/a\134b rw shared:1 - ext4 /dev/sdb rw
`
	if err := os.WriteFile(table, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := readMounts(table)
	for name, want := range map[string]place{
		"/":            {"8:1", "/"},
		"/etc/x":       {"8:1", "/etc/x"},
		`/mnt/a\b`:     {"8:2", "/sub dir"},
		`/mnt/a\b/c`:   {"8:2", "/sub dir/c"},
		`/mnt/a\bc`:    {"8:1", `/mnt/a\bc`},
		"not absolute": {},
	} {
		if got := got.place(name, 0); got != want {
			t.Errorf("%s is at %v, want %v", name, got, want)
		}
	}
}
