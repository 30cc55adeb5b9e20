package e2e

import (
	"testing"
	"time"

	"github.com/syncd/syncd/e2e/hosts"
)

// The service as it is shipped, from one host to the stock rsync daemon of another, through what happens to both.
func TestService(t *testing.T) {
	t.Parallel()
	t.Log(hosts.Run(t, hosts.Config{
		Names: hosts.Pair, Programs: map[string]string{"syncd": "./cmd/syncd"}, Timeout: 5 * time.Minute,
		Script: `
install -m 755 /project/bin/syncd /usr/bin/syncd
install -m 644 /project/systemd/syncd@.service /lib/systemd/system/
mkdir -p /etc/syncd /etc/systemd/system/syncd@.service.d "/srv/my data/dir"
printf '[Service]\nRestartSec=100ms\n' >/etc/systemd/system/syncd@.service.d/test.conf
systemctl daemon-reload
cat >/etc/syncd/data.env <<'END'
SYNCD_SOURCE=/srv/my data
SYNCD_DEST=rsync://target/data
SYNCD_FLAGS=-aH --delete --numeric-ids --exclude='*.tmp'
END
u=syncd@data.service
src='/srv/my data' sock=/run/syncd/data/control.sock

# As Debian ships it: rsync.service, started by hand since it is only wanted where there is a configuration.
on target mkdir /srv/data
printf 'uid = 0\ngid = 0\nuse chroot = yes\n[data]\npath = /srv/data\nread only = no\nnumeric ids = yes\n' |
	on target tee /etc/rsyncd.conf >/dev/null
# To read what has arrived, from here.
printf '[look]\npath = /srv/data\nread only = yes\nuid = 0\n' | on target tee -a /etc/rsyncd.conf >/dev/null
check 'the daemon over there' on target systemctl start rsync
check 'it answers' eventually bash -c 'rsync rsync://target/ | grep -w data'

equal() { # in content and all metadata, to the nanosecond
	local out
	out=$(on target bash -c 'cd /srv/data && find . -printf "%P %y %m %U %G %T@ %l %s\n" | grep -v " d .* [0-9]*$" ; find . -type d -printf "%P %m %U %G %T@\n"; find . -type f -exec sha256sum {} +' | sort)
	[ "$out" = "$(cd "$src" && { find . ! -name '*.tmp' -printf "%P %y %m %U %G %T@ %l %s\n" | grep -v " d .* [0-9]*$"; find . -type d -printf "%P %m %U %G %T@\n"; find . -type f ! -name '*.tmp' -exec sha256sum {} +; } | sort)" ]
}
words() { syncd --status --control=$sock; }
says() { words | grep -E "$1"; }

for i in $(seq 300); do echo "$i" >"$src/dir/$i"; done
echo 'left out' >"$src/x.tmp"
check 'start' systemctl start $u
check 'it is active' is active prop $u ActiveState
check 'active only after every directory is watched' logged $u 'watching directories='
check 'the tree arrives' eventually equal
check 'and nothing that is left out' not on target test -e /srv/data/x.tmp
check 'live' eventually is 'live; nothing waits' prop $u StatusText
check 'the answer of --status' says '^state +live'
check 'it names both ends' says '/srv/my data  ->  rsync://target/data'
check 'in JSON' bash -c "syncd --status --json --control=$sock | grep '^{\"state\":\"live\"'"
check 'the only service is found' bash -c 'syncd --status | grep -E "^state +live"'

mkdir "$src/new"
for i in $(seq 200); do echo "$i" >"$src/new/file$i"; done
mv "$src/dir" "$src/moved"; rm "$src/moved/1"; ln -s moved "$src/link"; touch -d 2001-02-03 "$src/moved/2"
check 'changes arrive' eventually equal
check 'an operator sees its states' logged $u 'state is=live'
warnings() { journalctl -q -u $u -o cat --no-pager -p warning | grep -v 'devices are not made there'; } # nor can they, in such a host
check 'no error' not warnings
check 'no line for each file' not logged $u 'file1'
few() { local n; n=$(journalctl -q -u $u -o cat --no-pager _COMM=syncd | wc -l); echo "$n lines"; [ "$n" -le "$1" ]; }
check 'a handful of lines' few 10

pid=$(prop $u MainPID)
kill -KILL "$pid"
echo 'while it was dead' >"$src/new/file1"; rm "$src/new/file2"
check 'back after kill -9' eventually is 1 prop $u NRestarts
check 'active again' eventually is active prop $u ActiveState
check 'another process' not is "$pid" prop $u MainPID
check 'it converges' eventually equal

check 'the target is away' on target systemctl stop rsync
echo 'while the target was away' >"$src/new/file3"; rm -r "$src/moved"
check 'systemctl status shows it' eventually bash -c "systemctl status $u | grep -E 'Status: \"waiting-for-destination: .*refused'"
check 'and the journal' logged $u 'waiting-for-destination'
check 'it is active all the time' is active prop $u ActiveState
check 'the target is back' on target systemctl start rsync
check 'it converges then' eventually equal
check 'live again' eventually is 'live; nothing waits' prop $u StatusText
check 'a handful of lines for all of it' few 25

check 'stop' systemctl stop $u
check 'it ended well' is success prop $u Result
check 'with status 0' is 0 prop $u ExecMainStatus
check 'it says so' logged $u 'stopped'
check 'the socket is gone' not test -e $sock
journalctl -q -u $u -o cat --no-pager
`}))
}
