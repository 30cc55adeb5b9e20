package transfer

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
)

// What no real server here loses: the file system behind it takes something and forgets it, or refuses it.
func TestJudgement(t *testing.T) {
	session := archive()
	session.Owner, session.Devices, session.HardLinks, session.ModifyWindow = true, true, true, -1
	said := func(of map[string]rsync.ItemFlags, flag rsync.ItemFlags, names ...string) {
		for _, name := range names {
			of[name] |= flag
		}
	}
	for name, c := range map[string]struct {
		says  map[string]rsync.ItemFlags
		fails map[string]string
		want  string // begin of the only loss; "": none
		kept  Kept
	}{
		"nothing": {kept: Kept{Window: -1}},
		"owners": {says: map[string]rsync.ItemFlags{"file": rsync.ItemOwner, "odd": rsync.ItemOwner}, want: "owners are not kept: the file system",
			kept: Kept{Window: -1, Lost: rsync.ItemOwner}},
		"groups": {says: map[string]rsync.ItemFlags{"file": rsync.ItemGroup}, want: "groups are not kept: the file system",
			kept: Kept{Window: -1, Lost: rsync.ItemGroup}},
		"modes": {says: map[string]rsync.ItemFlags{"file": rsync.ItemPerms, "special": rsync.ItemPerms}, want: "modes are not kept",
			kept: Kept{Window: -1, Lost: rsync.ItemPerms}},
		"special bits": {says: map[string]rsync.ItemFlags{"special": rsync.ItemPerms}, want: "set-user-ID", kept: Kept{Window: -1}},
		"times": {says: map[string]rsync.ItemFlags{"file": rsync.ItemTime, "odd": rsync.ItemTime, "even": rsync.ItemTime}, want: "times are not kept",
			kept: Kept{Window: -1, Lost: rsync.ItemTime}},
		"two seconds": {says: map[string]rsync.ItemFlags{"file": rsync.ItemTime, "odd": rsync.ItemTime}, want: "times are kept to two seconds",
			kept: Kept{Window: 1}},
		"a second": {says: map[string]rsync.ItemFlags{"file": rsync.ItemTime}, want: "times are kept to the second", kept: Kept{Window: 0}},
		"chown":    {fails: map[string]string{"file": "chown failed: Invalid argument (22)"}, want: "owners, or other attributes, cannot be set there: chown", kept: Kept{Window: -1}},
		"mknod":    {fails: map[string]string{"device": "mknod failed: Operation not permitted (1)"}, want: "devices are not made there", kept: Kept{Window: -1}},
		"link":     {fails: map[string]string{"link2": "link failed"}, want: "hard links are not made there", kept: Kept{Window: -1}},
	} {
		s := newSpecimens(flist.Entry{Path: ".", Mode: 0o40755}, "probe", &session)
		says := map[string]rsync.ItemFlags{}
		said(says, rsync.ItemOwner|rsync.ItemGroup, "owner")
		said(says, rsync.ItemContent|rsync.ItemLocal, "relative")
		for bit := range modeBits {
			said(says, rsync.ItemPerms, fmt.Sprint("mode", bit), fmt.Sprint("dirmode", bit))
		}
		for name, f := range c.says {
			said(says, f, name)
		}
		report := func(entries []flist.Entry) *rsync.Report {
			r := &rsync.Report{Results: make([]rsync.Result, len(entries)), Complete: true}
			for i := range r.Results {
				r.Results[i].State = rsync.Acked
			}
			return r
		}
		made, asked := report(s.made), report(s.asked)
		for name, words := range c.fails {
			made.Results[s.at[name]] = rsync.Result{State: rsync.Failed, Err: errors.New(words)}
		}
		for name, f := range says {
			asked.Results[s.at[name]].Items = f
		}
		got := s.judge(made, asked, rsync.Daemon)
		switch {
		case got == nil || got.Window != c.kept.Window || got.Lost != c.kept.Lost:
			t.Errorf("%s: %+v, want %+v", name, got, c.kept)
		case c.want == "" && len(got.Losses) > 0, c.want != "" && (len(got.Losses) != 1 || !strings.HasPrefix(got.Losses[0], c.want)):
			t.Errorf("%s: %q, want %q", name, got.Losses, c.want)
		}
		if len(c.fails) > 0 {
			continue
		}
		asked.Results[s.at["file"]].Items = rsync.ItemNew | rsync.ItemTransfer
		if got := s.judge(made, asked, rsync.Daemon); got != nil {
			t.Errorf("%s: somebody deleted a specimen meanwhile: %q", name, got.Losses)
		}
	}
}
