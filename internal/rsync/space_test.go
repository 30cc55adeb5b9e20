package rsync

import "testing"

func TestParseSpace(t *testing.T) {
	const (
		blocks = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n"
		inodes = "Filesystem       Inodes  IUsed    IFree IUse% Mounted on\n"
	)
	for _, c := range []struct {
		what, out string
		want      Space
		ok        bool
	}{
		{"both", blocks + "/dev/vda 100 60 40 60% /\n" + inodes + "/dev/vda 50 20 30 40% /\n", Space{40 << 10, 30}, true},
		{"a name with spaces", blocks + "my disk 100 60 40 60% /mnt/a 5%\n", Space{40 << 10, -1}, true},
		{"no fixed inodes", blocks + "/dev/vda 100 60 40 60% /\n" + inodes + "/dev/vda 0 0 0 - /\n", Space{40 << 10, -1}, true},
		{"a table of another kind", blocks + "/dev/vda 100 60 40 60% /\nFilesystem 512-blocks Used Available Capacity iused ifree %iused\n" +
			"/dev/vda 100 60 40 60% 20 30 40% /\n", Space{40 << 10, -1}, true},
		{"a greeting before", "Welcome! 5 of 10%\n" + blocks + "/dev/vda 100 60 40 60% /\n", Space{40 << 10, -1}, true},
		{"more than there is", blocks + "/dev/vda 1 1 9223372036854775807 60% /\n", Space{0, -1}, false},
		{"less than nothing", blocks + "/dev/vda 1 1 -5 60% /\n", Space{0, -1}, false},
		{"nothing", "", Space{0, -1}, false},
		{"words", "rsync: connection unexpectedly closed\n", Space{0, -1}, false},
	} {
		if got, ok := parseSpace(c.out); got != c.want || ok != c.ok {
			t.Errorf("%s: %+v, %v", c.what, got, ok)
		}
	}
}
