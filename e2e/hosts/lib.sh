# Functions for the scripts that run inside a host. A script ends at the first
# command that fails.
set -euo pipefail
trap 'echo "FAIL line $LINENO: $BASH_COMMAND" >&2' ERR

# check WHAT COMMAND...: COMMAND must succeed, else the script ends with its output.
check() {
	if "${@:2}" >/tmp/check 2>&1; then
		echo "ok    $1"
	else
		echo "FAIL  $1 (status $?: ${*:2})"
		sed 's/^/      /' /tmp/check
		exit 1
	fi
}

# eventually COMMAND...: tries it until it succeeds, for 20 s.
eventually() {
	local n
	for ((n = 0; n < 200; n++)); do
		if "$@" >/tmp/eventually 2>&1; then return 0; fi
		sleep 0.1
	done
	cat /tmp/eventually
	return 1
}

not() { ! "$@"; }

# is WANT COMMAND...: the output of COMMAND is WANT.
is() {
	local got
	got=$("${@:2}") || true
	[ "$got" = "$1" ] || { printf 'got   %s\nwant  %s\n' "$got" "$1"; return 1; }
}

# prop UNIT PROPERTY: one property as systemd has it.
prop() { systemctl show -P "$2" "$1"; }

# logged UNIT TEXT [JOURNALCTL OPTION...]: the journal of UNIT has TEXT in a line,
# of all that was said to it until now.
logged() {
	journalctl --sync
	journalctl -q -u "$1" -o cat --no-pager "${@:3}" | grep -F -e "$2"
}
