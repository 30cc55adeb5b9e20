package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/e2e/hosts"
)

// A step is one block of docs/cutover.md that is run: its info string is "sh HOST",
// or "file HOST PATH MODE".
type step struct {
	line int // of the block in the page
	host string
	file string // path of the file; "": it is a script
	mode string
	text string
}

// steps reads the blocks that are to be run. A fence that is none of these is for
// people only.
func steps(page string) ([]step, error) {
	var (
		all []step
		now *step
	)
	for i, line := range strings.Split(page, "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && now != nil:
			if now.host != "" {
				all = append(all, *now)
			}
			now = nil
		case fence:
			now = &step{line: i + 1}
			switch f := strings.Fields(info); {
			case len(f) == 2 && f[0] == "sh":
				now.host = f[1]
			case len(f) == 4 && f[0] == "file":
				now.host, now.file, now.mode = f[1], f[2], f[3]
			case len(f) > 0 && (f[0] == "sh" || f[0] == "file"):
				return nil, fmt.Errorf("line %d: cannot be run: ```%s", i+1, info)
			}
		case now != nil:
			now.text += line + "\n"
		}
	}
	if now != nil {
		return nil, fmt.Errorf("line %d: a block without an end", now.line)
	}
	return all, nil
}

// script is a step as a command of the test, which runs on the first host.
func (s step) script() string {
	const end = "END-OF-STEP"
	run := fmt.Sprintf("on %s bash -euo pipefail -s", s.host)
	if s.file != "" {
		run = fmt.Sprintf("on %s install -D -m %s /dev/stdin %s", s.host, s.mode, s.file)
	}
	return fmt.Sprintf("echo '== line %d on %s'\nbefore %d\n%s <<'%s' || fail %d\n%s%s\nafter %d\n",
		s.line, s.host, s.line, run, end, s.line, s.text, end, s.line)
}

func TestRunbookSteps(t *testing.T) {
	all, err := steps("a\n```sh old\nx\n```\n```\nnot run\n```\n```file new /a 0644\nb\nc\n```\n")
	if err != nil || len(all) != 2 || all[0] != (step{line: 2, host: "old", text: "x\n"}) ||
		all[1] != (step{line: 8, host: "new", file: "/a", mode: "0644", text: "b\nc\n"}) {
		t.Errorf("%+v, %v", all, err)
	}
	for _, bad := range []string{"```sh\n```\n", "```sh old\n", "```file old\n```\n", "```sh old and more\n```\n"} {
		if all, err := steps(bad); err == nil {
			t.Errorf("%q became %+v", bad, all)
		}
	}
}

// What the page takes for granted on both hosts: an application that writes all the
// time, batch jobs, a file system for the data, syncd installed, ssh. `ssh` is `on`
// here: the hosts have a way of their own to run a command on each other.
const runbookHosts = `
for h in old new; do
on $h bash -euo pipefail -s <<'END'
install -m 755 /project/bin/syncd /usr/bin/syncd
install -m 755 /project/bin/writer /usr/bin/writer
install -m 644 /project/systemd/syncd@.service /lib/systemd/system/
cat >/usr/local/bin/ssh <<'SSH'
#!/bin/sh
host=$1; shift
exec on "$host" sh -c "$*"
SSH
chmod 755 /usr/local/bin/ssh
cat >/etc/systemd/system/app.service <<'UNIT'
[Service]
ExecStart=/usr/bin/writer /srv/data
[Install]
WantedBy=multi-user.target
UNIT
cat >/etc/systemd/system/app-batch.service <<'UNIT'
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'date >/srv/data/batch'
UNIT
cat >/etc/systemd/system/app-batch.timer <<'UNIT'
[Timer]
OnActiveSec=1
OnUnitActiveSec=2
[Install]
WantedBy=timers.target
UNIT
truncate -s 512M /var/disk
mkfs.ext4 -q -F /var/disk
mkdir -p /srv/data
mount -o loop /var/disk /srv/data
rmdir /srv/data/lost+found
systemctl daemon-reload
END
done
on old systemctl enable --now app.service app-batch.timer
# boots HOST UNIT...: these start with the host, and their likes on the other one do not.
boots() {
	local other=old u
	[ $1 = new ] || other=new
	for u in "${@:2}"; do
		[ "$(on $1 systemctl is-enabled $u)" = enabled ] && [ "$(on $other systemctl is-enabled $u)" = disabled ] || { echo $u; return 1; }
	done
}

fail() { echo "FAIL: line $1 of docs/cutover.md, status $?"; on old journalctl -q -u syncd@data -o cat --no-pager | tail -30; exit 1; }
# equal A B: both hosts have the same tree, in content and all metadata.
tree() { on "$1" bash -c 'cd /srv/data && { find . -type d -printf "%P %m %U %G %T@\n"; find . ! -type d -printf "%P %y %m %U %G %T@ %l %s\n"; find . -type f -exec sha256sum {} +; } | LC_ALL=C sort'; }
equal() { diff <(tree old) <(tree new) | head -20; return "${PIPESTATUS[0]}"; }
# writes HOST: the application writes there now.
writes() { local a; a=$(on "$1" cat /srv/data/count); sleep 0.3; [ "$(on "$1" cat /srv/data/count)" -gt "$a" ]; }
`

// TestRunbook follows docs/cutover.md from its first command to its last on two
// hosts, with an application that never stops to write until it is frozen.
func TestRunbook(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/cutover.md")
	if err != nil {
		t.Fatal(err)
	}
	all, err := steps(string(page))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(runbookHosts)
	b.WriteString(runbookChecks(t, all))
	for _, s := range all {
		b.WriteString(s.script())
	}
	t.Log(hosts.Run(t, hosts.Config{
		Names: []string{"old", "new"}, Packages: []string{"nftables"}, Timeout: 10 * time.Minute,
		Programs: map[string]string{"syncd": "./cmd/syncd", "writer": "./e2e/hosts/writer"},
		Script:   b.String(),
	}))
}

// runbookChecks are the shell functions before and after, which are called with the
// line of each step: they look at what the step is to have brought about, and wait for
// what the page tells people to wait for. Steps are known by a command in them.
func runbookChecks(t *testing.T, all []step) string {
	t.Helper()
	lineOf := func(what string) int {
		t.Helper()
		for _, s := range all {
			if strings.Contains(s.text, what) && s.file == "" {
				return s.line
			}
		}
		t.Fatalf("docs/cutover.md has no step with %q any more", what)
		return 0
	}
	const (
		live   = `eventually on HOST bash -c "syncd --status | grep -E '^state +live'"`
		report = `'"outcome": "done"'`
	)
	on := func(host, s string) string { return strings.ReplaceAll(s, "HOST", host) }
	before := map[int]string{
		lineOf("journalctl -u syncd@data"): `check 'live' ` + on("old", live),
	}
	after := map[int]string{
		lineOf("systemctl restart rsync"): `check 'the daemon answers' eventually on old rsync rsync://new/`,
		// Days of following: a crash, and the other host's maintenance.
		lineOf("systemctl start app-batch.timer"): `on old systemctl kill -s KILL syncd@data
			check 'it is back after kill -9' eventually is 1 on old systemctl show -P NRestarts syncd@data
			on new systemctl stop rsync
			check 'the destination is away' eventually on old bash -c 'syncd --status | grep waiting-for-destination'
			on new systemctl start rsync
			check 'and back' ` + on("old", live) + `
			on old systemctl restart syncd@data
			check 'live after a restart' ` + on("old", live),
		lineOf("--cutover --rehearse --freeze"): `check 'the application never stopped' writes old`,
		lineOf("--go-hook='exit 1'"): `check 'it serves again' writes old
			check 'and the report says why not' on old grep -F 'the go hook failed' /root/attempt
			restarts=$(on old systemctl show -P NRestarts syncd@data)
			check 'syncd is killed while all is frozen' not on old syncd --cutover --thaw-hook='/etc/syncd/move thaw' \
				--freeze-hook='/etc/syncd/move freeze; systemctl kill -s KILL syncd@data'
			check 'nothing runs then' not on old systemctl is-active app.service
			check 'syncd comes back' eventually is $((restarts + 1)) on old systemctl show -P NRestarts syncd@data
			check 'and thaws' eventually on old systemctl is-active app.service
			check 'live again' ` + on("old", live),
		lineOf("--go-hook='/etc/syncd/move go'"): `check 'it writes on the new host' writes new
			check 'and not on the old one' not on old systemctl is-active app.service
			check 'syncd has ended there' eventually not on old systemctl is-active syncd@data
			check 'proven' on old grep -F ` + report + ` /root/cutover.json
			check 'and does not start again' not on old systemctl start syncd@data
			check 'since it would overwrite what is newer' eventually on old bash -c 'journalctl -q -u syncd@data -o cat | grep taken-over'`,
		lineOf("systemctl is-active app.service syncd@data\nsyncd --status"): `check 'the way back is live' ` + on("new", live),
		lineOf("--report=/root/back"): `check 'it writes on the old host again' writes old
			check 'and not on the new one' not on new systemctl is-active app.service
			check 'proven' on new grep -F ` + report + ` /root/back.json
			check 'and again the other way' ` + on("old", live) + `
			on old systemctl stop app-batch.timer app.service
			check 'both sides are equal in the end' eventually equal`,
	}
	for _, s := range all {
		if strings.TrimSpace(s.text) == "/etc/syncd/move after" {
			to := map[string]string{"old": "new", "new": "old"}[s.host]
			after[s.line] = "check 'it lasts' boots " + to + " syncd@data app.service app-batch.timer"
		}
	}
	var b strings.Builder
	for name, m := range map[string]map[int]string{"before": before, "after": after} {
		fmt.Fprintf(&b, "%s() {\n\tcase $1 in\n", name)
		for line, text := range m {
			fmt.Fprintf(&b, "\t%d) %s ;;\n", line, text)
		}
		b.WriteString("\tesac\n}\n")
	}
	return b.String()
}
