package rsync

import (
	"slices"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// ended returns an exchange that is over, with these entries and the server's texts.
func ended(dest Dest, o Options, paths []string, remarks ...remark) *exchange {
	s := &Session{dialer: &Dialer{Dest: dest}, opts: o, terms: terms{protocol: 32}, conn: newConn(nopConn{}, nil)}
	b := &Batch{}
	for _, p := range paths {
		mode := uint32(0o100644)
		if name, ok := strings.CutSuffix(p, "/"); ok {
			p, mode = name, 0o040755
		}
		b.Entries = append(b.Entries, flist.Entry{Path: p, Mode: mode})
	}
	x := &exchange{Session: s, b: b, results: make([]Result, len(paths)), asked: make([]uint8, len(paths))}
	x.order = flist.Order(b.Entries, 32)
	x.said.begin(x)
	for _, m := range remarks {
		s.note(m)
	}
	return x
}

type nopConn struct{}

func (nopConn) Read([]byte) (int, error)    { return 0, errClosed }
func (nopConn) Write(p []byte) (int, error) { return len(p), nil }
func (nopConn) Close() error                { return nil }

// TestNamed has texts of different releases, and which entries they name.
func TestNamed(t *testing.T) {
	module := Dest{Kind: Daemon, Host: "h", Module: "m"}
	below := Dest{Kind: Daemon, Host: "h", Module: "m", Path: "t/u"}
	absolute := Dest{Kind: Shell, Host: "h", Path: "/srv/t"}
	relative := Dest{Kind: Shell, Host: "h", Path: "t"}
	home := Dest{Kind: Shell, Host: "h"}
	long := strings.Repeat("l", 240)
	paths := []string{".", "new", "sub/", "sub/new", "sub/.dot", "t/u/new", `q"uo" te`, "line\nbreak", "high\xff", `lit\#012x`,
		"sub/" + long + "1234567890", "sub/" + long + "other", "a -> b", "x (in m) failed: y", "-> \"new\""}
	for _, c := range []struct {
		dest Dest
		text string
		want []string
	}{
		{module, `rsync: [receiver] mkstemp "sub/.new.XXXXXX" (in m) failed: Permission denied (13)`, []string{"sub/new"}},
		{module, `rsync: [receiver] set_acl: xacl_set(sub/.new.a1B2c3, ACL_TYPE_ACCESS): No space left on device (28)`, []string{"sub/new"}},
		{module, `rsync: [generator] set_acl: xacl_set(sub, ACL_TYPE_DEFAULT): Operation not supported (95)`, []string{"sub"}},
		{below, `rsync: [generator] set_acl: xacl_set(., ACL_TYPE_DEFAULT): Operation not supported (95)`, []string{"."}},
		{module, `rsync: set_acl: sys_acl_set_file(a -> b, ACL_TYPE_ACCESS): Operation not permitted (1)`, []string{"a -> b"}},
		{module, `rsync: [receiver] get_acl: sys_acl_get_file(new, ACL_TYPE_ACCESS): Input/output error (5)`, []string{"new"}},
		{module, `rsync: set_acl: sys_acl_delete_def_file(sub): Operation not permitted (1)`, []string{"sub"}},
		{module, `rsync: [receiver] rsync_xal_set: fsetxattr("/sub/.new.a1B2c3" (in m),"user.a") failed: No space left on device (28)`, []string{"sub/new"}},
		{below, `rsync: [receiver] rsync_xal_clear: lremovexattr("/t/u/new" (in m),"user.a") failed: x`, []string{"new"}},
		{module, `Missing abbreviated xattr value, user.a, for "/sub/new" (in m)`, []string{"sub/new"}},
		{module, `rsync: [receiver] mkstemp "/sub/.new.a1B2c3" (in m) failed: Permission denied (13)`, []string{"sub/new"}},
		{module, `rsync: mkstemp "/sub/.dot.a1B2c3" (in m) failed: Permission denied (13)`, []string{"sub/.dot"}},
		{module, `rsync: [receiver] write failed on "/new" (in m): No space left on device (28)`, []string{"new"}},
		{module, `rsync: [generator] failed to set times on "/." (in m): Operation not permitted (1)`, []string{"."}},
		{module, `rsync: [receiver] rename "/sub/.new.a1B2c3" (in m) -> "sub/new": Permission denied (13)`, []string{"sub/new"}},
		{module, `rsync: [generator] symlink "/sub/new" (in m) -> "new" failed: File exists (17)`, []string{"sub/new"}},
		{module, `rsync: [receiver] mkstemp "/.q"uo" te.a1B2c3" (in m) failed: x`, []string{`q"uo" te`}},
		{module, "rsync: [receiver] mkstemp \"/.line\nbreak.a1B2c3\" (in m) failed: x", []string{"line\nbreak"}},
		{module, "could not make way for new regular file: line\nbreak", []string{"line\nbreak"}},
		{module, `could not make way for new symlink: sub/new`, []string{"sub/new"}},
		{module, `cannot delete non-empty directory: sub`, []string{"sub"}},
		{module, `rsync: [generator] delete_file: unlink(sub/new) failed: Permission denied (13)`, []string{"sub/new"}},
		{module, `ERROR: sub/new failed verification -- update discarded.`, []string{"sub/new"}},
		{module, `ERROR: a -> b failed verification -- update put into partial-dir.`, []string{"a -> b"}},
		{module, `ERROR: daemon refused to receive file "sub/new"`, []string{"sub/new"}},
		{module, `skipping non-regular file "new"`, []string{"new"}},
		{module, `rsync: [receiver] chown "/x (in m) failed: y" (in m) failed: Operation not permitted (1)`, []string{"x (in m) failed: y"}},
		{module, `rsync: [receiver] open "/-> "new"" (in m) failed: x`, []string{`-> "new"`}},
		{module, `rsync: [receiver] mkstemp "/sub/.` + long + `12345.a1B2c3" (in m) failed: x`, []string{"sub/" + long + "1234567890"}},
		{module, `rsync: [receiver] mkstemp "/sub/.` + long + `.a1B2c3" (in m) failed: x`, []string{"sub/" + long + "1234567890", "sub/" + long + "other"}},
		{module, `rsync: [receiver] open "/.part/new" (in m) failed: x`, []string{"new"}},
		{module, `rsync: [receiver] open "sub/.part/new" (in m) failed: x`, []string{"sub/new"}},
		{module, `rsync: [receiver] mkstemp "/sub/.part/.new.a1B2c3" (in m) failed: x`, []string{"sub/new"}},
		{module, `rsync: [receiver] mkstemp "/none/.new.a1B2c3" (in m) failed: x`, nil},
		{module, `ERROR: module is read only`, nil},
		{module, `rsync: connection unexpectedly closed (0 bytes received so far)`, nil},
		{below, `rsync: [receiver] mkstemp "/t/u/.new.a1B2c3" (in m) failed: x`, []string{"new"}},
		{below, `rsync: mkstemp "t/u/.new.a1B2c3" (in m) failed: x`, []string{"new", "t/u/new"}}, // either may be meant
		{below, `rsync: mkstemp "sub/.new.a1B2c3" (in m) failed: x`, []string{"sub/new"}},
		{below, `rsync: [receiver] mkstemp "/new" (in m) failed: x`, nil},
		{below, `rsync: [generator] failed to set times on "/t/u" (in m): x`, []string{"."}},
		{absolute, `rsync: [receiver] mkstemp "/srv/t/.high\#377.a1B2c3" failed: x`, []string{"high\xff"}},
		{absolute, `rsync: [receiver] mkstemp "/srv/t/.lit\#134#012x.a1B2c3" failed: x`, []string{`lit\#012x`}},
		{absolute, `rsync: [receiver] mkstemp "/srv/t/.line\#012break.a1B2c3" failed: x`, []string{"line\nbreak"}},
		{absolute, `rsync: [receiver] mkstemp "/elsewhere/new" failed: x`, nil},
		{relative, `rsync: [receiver] mkstemp "/home/joe/t/sub/.new.a1B2c3" failed: x`, []string{"sub/new"}},
		{relative, `rsync: [generator] failed to set times on "/home/joe/t/.": x`, []string{"."}},
		{home, `rsync: [receiver] mkstemp "/home/joe/sub/.new.a1B2c3" failed: x`, []string{"new", "sub/new"}},
	} {
		x := ended(c.dest, Options{PartialDir: ".part"}, paths)
		var got []string
		for _, place := range newIndex(x).named(c.text) {
			got = append(got, x.b.Entries[place].Path)
		}
		slices.Sort(got)
		got = slices.Compact(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: %q names %q, want %q", c.dest, c.text, got, c.want)
		}
	}
}

// TestJudge has whole conversations about errors and what becomes of the entries.
func TestJudge(t *testing.T) {
	module := Dest{Kind: Daemon, Host: "h", Module: "m"}
	const bad = `rsync: [generator] recv_generator: mkdir "/d" (in m) failed: Permission denied (13)`
	const below = "*** Skipping any contents from this failed directory ***"
	paths := []string{"d/", "d/a", "d/e/", "d/e/f", "da", "x"}
	for _, c := range []struct {
		name    string
		remarks []remark
		states  []State
		loose   int
		kept    int
		limit   bool
		code    int
	}{
		{"nothing", nil, []State{Acked, Acked, Acked, Acked, Acked, Acked}, 0, 0, false, 0},
		{"directory", []remark{{wire.ErrorXfer, bad}, {wire.Error, below}}, []State{Failed, Failed, Failed, Failed, Acked, Acked}, 0, 0, false, 23},
		{"in one message", []remark{{wire.ErrorXfer, bad + "\n" + `rsync: [receiver] open "/x" (in m) failed: x`}},
			[]State{Failed, Acked, Acked, Acked, Acked, Failed}, 0, 0, false, 23},
		{"refused directory", []remark{{wire.ErrorXfer, `ERROR: daemon refused to receive directory "d"`}, {wire.Error, below}},
			[]State{Skipped, Skipped, Skipped, Skipped, Acked, Acked}, 0, 0, false, 23},
		{"nobody", []remark{{wire.Error, "something else"}}, []State{Pending, Pending, Pending, Pending, Pending, Pending}, 1, 0, false, 23},
		{"will try again", []remark{{wire.Warning, "WARNING: x failed verification -- update discarded (will try again)."},
			{wire.Error, "WARNING: parent dir is absent in the file list: x"}}, []State{Acked, Acked, Acked, Acked, Acked, Acked}, 0, 0, false, 0},
		{"kept", []remark{{wire.Info, "cannot delete non-empty directory: old"}}, []State{Acked, Acked, Acked, Acked, Acked, Acked}, 0, 1, false, 23},
		{"in the way", []remark{{wire.Info, "cannot delete non-empty directory: x"}}, []State{Acked, Acked, Acked, Acked, Acked, Failed}, 0, 1, false, 23},
		{"limit", []remark{{wire.Warning, "Deletions stopped due to --max-delete limit (3 skipped)"}}, []State{Acked, Acked, Acked, Acked, Acked, Acked}, 0, 0, true, 25},
		{"partial", []remark{{wire.Error, "rsync error: some files/attrs were not transferred (code 23) at main.c(1)"}},
			[]State{Acked, Acked, Acked, Acked, Acked, Acked}, 0, 0, false, 0},
	} {
		r := ended(module, Options{}, paths, c.remarks...).report(true)
		var got []State
		for _, res := range r.Results {
			got = append(got, res.State)
		}
		if !slices.Equal(got, c.states) || len(r.Loose) != c.loose || len(r.DeleteErrors) != c.kept || r.LimitHit != c.limit || r.ExitCode != c.code {
			t.Errorf("%s: states %v, loose %q, kept %q, limit %v, code %d", c.name, got, r.Loose, r.DeleteErrors, r.LimitHit, r.ExitCode)
		}
	}
}

// TestEndlessWords keeps what a server says bounded, and believes it nothing then.
func TestEndlessWords(t *testing.T) {
	x := ended(Dest{Kind: Daemon, Host: "h", Module: "m"}, Options{}, []string{"x"})
	text := []byte(strings.Repeat("y", 4000) + "\n")
	for range 3 * maxWords / len(text) {
		if err := x.hear(wire.ErrorXfer, text); err != nil {
			t.Fatal(err)
		}
	}
	if x.said.size > maxWords+4000 && len(x.said.remarks)*4000 > maxWords+4000 {
		t.Errorf("%d bytes kept", len(x.said.remarks)*4000)
	}
	if r := x.report(true); r.Results[0].State == Acked || !strings.Contains(r.Loose[len(r.Loose)-1], "dropped") {
		t.Errorf("state %v", r.Results[0].State)
	}
}

// TestHear puts messages together that are not lines.
func TestHear(t *testing.T) {
	x := ended(Dest{Kind: Daemon, Host: "h", Module: "m"}, Options{}, []string{"x"})
	for _, m := range []remark{{wire.Error, "first "}, {wire.ErrorXfer, "other\n"}, {wire.Error, "half\nsecond \"a\nb\"\n"}, {wire.Error, "end"}} {
		if err := x.hear(m.tag, []byte(m.text)); err != nil {
			t.Fatal(err)
		}
	}
	r := x.report(false)
	want := []string{"other", `first half\#012second "a\#012b"`, "end"}
	if !slices.Equal(r.Loose, want) {
		t.Errorf("loose %q, want %q", r.Loose, want)
	}
	if got, want := splitLines("first half\nsecond \"a\nb\"\r\nend"), []string{"first half", "second \"a\nb\"", "end"}; !slices.Equal(got, want) {
		t.Errorf("lines %q, want %q", got, want)
	}
}
