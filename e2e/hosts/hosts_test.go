package hosts

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The unit as it is shipped, with a program in place of syncd: what systemd
// makes of its lines, and what the notify package makes systemd say and do.
func TestUnit(t *testing.T) {
	t.Parallel()
	out := Run(t, Config{
		Programs: map[string]string{"syncd": "./e2e/hosts/probe"},
		Script: `
install -m 755 /project/bin/syncd /usr/bin/syncd
install -m 644 /project/systemd/syncd@.service /lib/systemd/system/
mkdir /etc/syncd
check 'the unit has no mistakes' is '' bash -c 'systemd-analyze verify syncd@a.service 2>&1'
u=syncd@a.service

check 'without a file it does not start' not systemctl start $u
check 'and says which' eventually logged $u 'Failed to load environment files'
systemctl stop $u

cat >/etc/syncd/a.env <<'END'
SYNCD_FLAGS=--gate -a -e "ssh -p 2222" --exclude='*.tmp' --filter='- my data/*' \
  --bwlimit=08:00-23:00=4M,23:00-08:00=0
SYNCD_SOURCE=/srv/my data
SYNCD_DEST=rsync://target/data
END
# The same watchdog, in less time.
mkdir /etc/systemd/system/syncd@.service.d
printf '[Service]\nWatchdogSec=2\nRestartSec=100ms\n' >/etc/systemd/system/syncd@.service.d/test.conf
systemctl daemon-reload

# The runtime directory comes and goes with the process.
open_gate() { check 'the gate opens' eventually touch /run/syncd/a/go; }

systemctl start --no-block $u
check 'its words' eventually logged $u 'args="[\"--control=/run/syncd/a/control.sock\" \"--gate\" \"-a\" \"-e\" \"ssh -p 2222\" \"--exclude=*.tmp\" \"--filter=- my data/*\" \"--bwlimit=08:00-23:00=4M,23:00-08:00=0\" \"/srv/my data\" \"rsync://target/data\"]"'
check 'the status while it starts' eventually is 'waiting at the gate' prop $u StatusText
check 'it is activating' is activating prop $u ActiveState
open_gate
check 'READY=1' eventually is active prop $u ActiveState
check 'systemctl status shows STATUS=' eventually bash -c "systemctl status $u | grep -F 'Status: \"live, nothing waits\"'"
check 'the directories are its own' is "$(printf '700 root /run/syncd/a\n700 root /var/lib/syncd/a')" stat -c '%a %U %n' /run/syncd/a /var/lib/syncd/a
pid=$(prop $u MainPID)
check 'nice' is 10 bash -c "ps -o ni= -p $pid | tr -d ' '"
check 'the disk' grep -q '^best-effort: prio 7' <(ionice -p "$pid")

check 'reload' systemctl reload $u
check 'reloaded' eventually is 'live, reloaded' prop $u StatusText
check 'active again' eventually is active prop $u ActiveState
check 'the same process' is "$pid" prop $u MainPID

fed() { # for so many microseconds since it is active
	[ $(($(prop $u WatchdogTimestampMonotonic) - $(prop $u ActiveEnterTimestampMonotonic))) -gt "$1" ]
}
check 'the watchdog is fed for longer than it waits' eventually fed 4000000
check 'by the same process' is "$pid" prop $u MainPID
kill -USR1 "$pid"
check 'the watchdog ends it when the loop hangs' eventually is 1 prop $u NRestarts
check 'systemd says why' eventually logged $u 'Watchdog timeout (limit 2s)!'
check 'the stacks are in the journal' eventually logged $u 'main.loop('

check 'it is back at the gate' eventually is 'waiting at the gate' prop $u StatusText
open_gate
check 'it is back' eventually is active prop $u ActiveState
kill -USR2 "$(prop $u MainPID)"
check 'it is back after a crash' eventually is 2 prop $u NRestarts
check 'the crash is in the journal' eventually logged $u 'panic: as asked for'
check 'waits again' eventually is activating prop $u ActiveState
open_gate
check 'active' eventually is active prop $u ActiveState
kill -KILL "$(prop $u MainPID)"
check 'it is back after kill -9' eventually is 3 prop $u NRestarts
open_gate
check 'active once more' eventually is active prop $u ActiveState

check 'stop' systemctl stop $u
of_priority() { eventually logged $u "$2" -p "$1..$1"; }
check 'a debug line' of_priority debug 'ended'
check 'an info line' of_priority info 'started args'
check 'a notice' of_priority notice 'ready watchdog=500ms'
check 'a warning' of_priority warning 'reloaded'
check 'an error' of_priority err 'the loop hangs now'
check 'no times in the lines' not grep -E '^[0-9]{4}-|<[0-7]>' <(journalctl -q -u $u -o cat)
check 'the stop was clean' is success prop $u Result
check 'and it stays down' is inactive prop $u ActiveState
check 'what it ran with is gone' not test -e /run/syncd/a
check 'what it knows is kept' test -d /var/lib/syncd/a

echo 'SYNCD_FLAGS=--usage' >/etc/syncd/b.env
check 'a mistake in the flags fails' not systemctl start syncd@b
check 'and is not tried again' is 'failed 0' bash -c 'echo $(systemctl show -P ActiveState syncd@b) $(systemctl show -P NRestarts syncd@b)'

cp /project/systemd/example.env /etc/syncd/example.env
check 'the example starts' systemctl start syncd@example
check 'with these words' eventually logged syncd@example 'args="[\"--control=/run/syncd/example/control.sock\" \"-aH\" \"--delete\" \"--max-delete=1000\" \"--numeric-ids\" \"--bwlimit=08:00-23:00=4M,23:00-08:00=0\" \"--exclude=*.tmp\" \"/srv/data\" \"rsync://backup.example.net/data\"]"'

grep '^[^#]' /project/systemd/60-syncd.conf | while read -r key equals value rest; do
	check "the kernel has $key" test -e "/proc/sys/${key//.//}"
	check "and takes a number" grep -x '=[0-9]* ' <(echo "$equals$value $rest")
done
echo done
`})
	if !strings.HasSuffix(out, "\ndone\n") {
		t.Errorf("the script ended early:\n%s", out)
	}
}

// Two hosts reach each other by name, and see the same programs.
func TestPair(t *testing.T) {
	t.Parallel()
	out := Run(t, Config{Names: Pair, Programs: map[string]string{"probe": "./e2e/hosts/probe"}, Script: `
check 'this is source' is source hostname
check 'that is target' is target on target hostname
check 'the programs are there as well' on target test -x /project/bin/probe
printf '[data]\npath = /srv/data\n' | on target tee /etc/rsyncd.conf
on target mkdir /srv/data
check 'a daemon over there' on target systemctl start rsync
check 'answers' eventually bash -c 'rsync rsync://target/ | grep -w data'
`})
	if !strings.Contains(out, "ok    answers") {
		t.Error(out)
	}
}

// A test of a host that could not fail would prove nothing.
func TestFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config Config
		status int
		want   []string
	}{
		"a check": {
			Config{Script: "check 'what is wrong' sh -c 'echo words; exit 7'"}, 1,
			[]string{"FAIL  what is wrong (status 7:", "      words", "== the end of journal.host.txt", "Startup finished"},
		},
		"a command":      {Config{Script: "true\nfalse\necho not reached"}, 1, []string{"FAIL line 4: false"}},
		"an exit status": {Config{Script: "exit 9"}, 9, nil},
		"what never comes": {
			Config{Script: "check 'the end' eventually false", Timeout: time.Second}, 124,
			[]string{"the time limit of 1 s is over"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := run(t, c.config)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != c.status {
				t.Errorf("%v, want exit status %d\n%s", err, c.status, out)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			if strings.Contains(out, "not reached") && name == "a command" {
				t.Error("the script went on")
			}
		})
	}
}
