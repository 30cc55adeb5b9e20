package config

// Usage is what --help prints. The README and the man page carry the same text.
const Usage = `Usage: syncd [flags] SRC DEST
       syncd --full [flags] SRC DEST
       syncd --verify [flags] SRC DEST
       syncd --cutover [--rehearse] [--control=PATH] [flags] [SRC DEST]
       syncd --status | --pause | --resume | --set KEY=VALUE | --why PATH
             [--control=PATH] [--json]

Makes DEST equal to the directory SRC, sending only what differs, over several
connections at once, and then follows changes until it is stopped; with --full
it ends when all is equal. With --verify it changes nothing and names what is
different, by checksum. The last form asks or steers a running syncd. DEST is
an ordinary rsync daemon, a host with rsync behind ssh, or a local directory:

  rsync://[USER@]HOST[:PORT]/MODULE[/PATH]    rsync daemon
  [USER@]HOST::MODULE[/PATH]                  rsync daemon
  rsyncs://[USER@]HOST[:PORT]/MODULE[/PATH]   rsync daemon behind TLS
  [USER@]HOST:PATH                            ssh, rsync on HOST
  /PATH                                       local directory, no rsync needed

The contents of SRC become the contents of DEST, with or without a slash after
SRC. Flags mean what they mean in rsync(1).

Examples:
  syncd -a --delete --control=/run/syncd.sock /srv/data rsync://host/data
  syncd --status --control=/run/syncd.sock                   how far is it?
  syncd --full -a --delete -n /srv/data rsync://host/data    what would be done
  syncd --full -aH --delete --numeric-ids --password-file=/etc/syncd/pw \
      --bwlimit=08:00-23:00=4M,23:00-08:00=0 -P /srv/data sync@backup::data
  syncd --full -a -e 'ssh -p 2222' --exclude='*.tmp' /srv/data root@new:/data

Mode (without one: copy, then follow changes):
      --full               copy once and end
      --verify             read all files on both sides and print, as -i, what
                           differs, is missing or is only at DEST; with the
                           flags of the copy, and -I and --size-only left out
      --cutover            freeze SRC, prove DEST equal, go over to it, or thaw
                           SRC; by the running service, or without one with SRC
                           and DEST; see "Cutover"
      --status             print what the service does, and what is missing
      --pause, --resume    stop sending, while changes are gathered; go on
      --set=KEY=VALUE      change a setting of the service: bwlimit=RATE
      --why=PATH           how a path stands, relative to SRC or absolute
      --control=PATH       the service's socket (default: in a unit control.sock
                           in $RUNTIME_DIRECTORY, else none; for those who ask
                           that of the only syncd@.service)

What is copied:
  -a, --archive            the same as -rlptgoD
  -r, --recursive          directories with what is in them
  -l, --links              symlinks as symlinks
  -p, --perms              permissions
  -t, --times              modification times
  -g, --group              groups
  -o, --owner              owners (the server must run as root)
  -D                       the same as --devices --specials
      --devices            devices (the server must run as root)
      --specials           fifos and sockets
  -H, --hard-links         hard links between names sent together
  -A, --acls               ACLs, and so permissions
  -X, --xattrs             extended attributes: all that may be read here; a
                           server that does not run as root keeps those of users
      --ignore-unsupported go on without -A or -X where DEST cannot have them
  -U, --atimes             times of last access, of files; with --full alone
      --open-noatime       reading changes none of these at DEST; here it never
                           does, where the kernel allows that
      --chmod=CHANGES      other permissions than here: D755,F644 or Dg+s,ug+w,
                           Fo-w,+X; D is directories alone, F all others alone
  -O, --omit-dir-times     do not set times of directories
      --no-OPTION          take one back: -a --no-o, --no-perms, --no-D
      --numeric-ids        owners and groups by number, not by name

What is left out (in this order: the first rule that matches a name decides):
      --exclude=PATTERN    leave out what matches
      --include=PATTERN    but do not leave this out
  -f, --filter=RULE        any rule of rsync(1)
      --exclude-from=FILE  patterns from a file, one a line
      --include-from=FILE  patterns from a file, one a line
      --files-from=FILE    copy only what FILE names, a line each, from SRC on,
                           and the directories above it: DIR alone, DIR/ with
                           its entries; with -r, which -a is not then, all below
                           them; with --full or --verify, without --delete
  -0, --from0              NUL ends patterns and names in those files, not LF
  -F                       rules from .rsync-filter files; -FF leaves these out
  -C, --cvs-exclude        leave out what CVS would
  -x, --one-file-system    do not enter other file systems

      --existing, --ignore-non-existing  leave out what DEST does not have
      --ignore-existing    leave files as they are that DEST has
  -u, --update             leave files as they are that are newer at DEST
      --min-size=SIZE      leave out files of fewer bytes, as 700K or 1.5GiB
      --max-size=SIZE      leave out files of more bytes
                           (these five with --full alone)

What differs (size, or modification time to the nanosecond):
  -c, --checksum           compare contents, not times
  -I, --ignore-times       everything differs
      --size-only          only sizes count
  -@, --modify-window=NUM  times that differ by NUM seconds are equal; -1 is to
                           the nanosecond, on every server

How it is sent:
  -W, --whole-file         whole files; --no-whole-file for the changed parts
      --inplace            write into the file itself, not into a new one
      --append-verify      files that are shorter at DEST have only grown, and
                           others not changed; with --full alone
      --partial            is always on for big files, whose parts are kept in
      --partial-dir=DIR    DIR (default .syncd-partial), to go on from there
      --big-file=SIZE      what is big: has a connection to itself (default 32M)
  -B, --block-size=SIZE    block size of the search for changed parts
      --mkpath             make missing directories above DEST
  -z, --compress           compress data on the way; without effect if DEST is a
                           local directory
      --compress-choice=ALGORITHM  or --zc: zstd, lz4, zlibx, zlib or none
                           (default auto: the first of these that DEST has)
      --compress-level=NUM  or --zl: 1 to 9 for zlib and zlibx (default 6), 1 to
                           22 for zstd (default: the quickest, 3 if the network
                           or the bandwidth limit is what is waited for), none
                           for lz4
      --skip-compress=LIST suffixes of files that go as they are: gz/jpg/mp[34]
                           (default: as rsync's)
      --new-compress, --old-compress  the same as --zc=zlibx, --zc=zlib

How DEST writes it (not a local directory):
  -S, --sparse             zeros as holes
      --preallocate        room for a file before its first byte
      --fsync              each file on the disk before it is in place
  -b, --backup             keep what is replaced or deleted, with a ~ at the end
      --backup-dir=DIR     of its name, or in DIR; with --full alone
      --suffix=SUFFIX      another end than ~, or also one in DIR
  -T, --temp-dir=DIR       make new files in DIR, not beside the old ones
  -y, --fuzzy              send the difference to a file of a similar name
      --usermap=FROM:TO,.. owners that become others; names, numbers or ranges
      --groupmap=FROM:TO,..  groups, too
      --chown=USER:GROUP   all owners and groups become these

Deletion:
      --delete             delete at DEST what is not in SRC; never below a
                           directory that could not be read completely
      --del, --delete-during  the same as --delete
      --max-delete=NUM     delete no more than NUM entries; while changes are
                           followed NUM[/WINDOW], as in 1000/1h: no more in one
                           hour (the default) without --set allow-delete=...
      --no-delete          delete nothing; with --verify: what is only at DEST
                           is no difference

Memory:
      --state-dir=DIR      remember in DIR what DEST holds, so that the next run
                           compares SRC with that and asks DEST nothing
                           (default: in a unit $STATE_DIRECTORY, else none);
                           --verify goes on there after an interruption
      --recheck            ask DEST all the same, and remember anew; with
                           --verify: begin anew

Connection:
      --password-file=FILE password for the daemon, in a file that only you can
                           read; - is the standard input; or RSYNC_PASSWORD
      --port=PORT          port of the daemon (default 873; with TLS 874)
      --tls-ca=FILE        authorities to trust, in PEM (default:
                           RSYNC_SSL_CA_CERT, or those of the system)
      --tls-cert=FILE      certificate to show, in PEM (default: RSYNC_SSL_CERT)
      --tls-key=FILE       its key (default: RSYNC_SSL_KEY, or in the same file)
      --tls-name=NAME      name in the server's certificate (default: HOST)
  -e, --rsh=COMMAND        remote shell (default: RSYNC_RSH or ssh)
      --no-ssh-share       a login of ssh for each connection, not one for all
      --rsync-path=PROGRAM rsync on the other host
      --timeout=SECONDS    give up a connection that is silent so long
      --contimeout=SECONDS give up connecting after so long
      --protocol=NUM       highest version of rsync's protocol to use, 27 to 32
      --no-motd            do not show the daemon's message of the day

Load:
      --bwlimit=RATE       KiB a second for all connections together, or with a
                           suffix: 800K, 4M, 1.5G; 0 is no limit; by the time of
                           day: 08:00-23:00=4M,23:00-08:00=0
      --no-bwlimit         no limit
      --sessions=NUM       connections at once (default: by processors)
      --read-limit=RATE    with --verify: what is read of files here, as RATE of
                           --bwlimit without times; while changes are followed:
                           by the audit (default 16M)
      --readers=NUM        with --verify: files read here at once (default: by
                           processors)

While changes are followed (without -I, --size-only, -F, -C):
      --watch=MODE         auto (default): by inotify, but by passes where that
                           does not tell all, as on NFS; inotify; scan: by
                           passes, each of which compares all of SRC
      --scan-interval=SEC  between the end of such a pass and the next one
                           (default 60)
      --raise-watch-limit  as root, raise fs.inotify.max_user_watches when SRC
                           needs more; else passes are made until it is raised
      --stop-timeout=SEC   at SIGTERM, how long what is being sent may take
                           (default 10); 0 cuts it off
      --audit=on|off|TIME  with --state-dir: compare everything with DEST by
                           checksum, gently, what was never compared first and
                           each file again within TIME, such as 12h (default
                           7d); what somebody changed at DEST is sent again
      --log-level=LEVEL    debug (each path), info (default), warn or error

Cutover (hooks are commands for sh -c, run by the syncd that follows SRC):
      --freeze-hook=CMD    stops what writes in SRC; needs --thaw-hook
      --go-hook=CMD        starts it at DEST; if it fails SRC is thawed, but not
                           if it exits with 75
      --thaw-hook=CMD      starts it at SRC again, after any failure
      --freeze-budget=SEC  longest freeze, with the time for the go hook
                           (default 60); when it is spent SRC is thawed
      --go-timeout=SEC     of these, for the go hook (default 10)
      --thaw-timeout=SEC   how long the thaw hook may take (default 60)
      --drain-timeout=SEC  how long to wait before the freeze until little is
                           left to send (default: no limit)
      --cutover-verify=WHAT  changed (default): files not proven equal since
                           their last change; all: every file
      --rehearse           all of it but the hooks: how long would it be frozen?
      --report=FILE        keep the report in FILE, and as JSON in FILE.json

Output (with --full and --verify; --json also with --status and --why):
  -n, --dry-run            change nothing, print what would be done, as -i
  -i, --itemize-changes    a line for each change: what changes, and the name
  -v, --verbose            the names of what is sent and deleted, and all errors
      --stats              a summary as rsync's
      --progress           share done, rate and time left; off a terminal one
                           line a minute
  -P                       the same as --partial --progress
      --json               one JSON object a line: changes with -n, -i or -v,
                           what failed, and a summary at the end; the status
  -h, --human-readable     numbers with units
  -8, --8-bit-output       names as they are
  -q, --quiet              only errors
      --help               this text
  -V, --version            the version

Exit status:
  0    done: DEST is equal to SRC; a service was stopped by SIGTERM
  1    failed: not started, or not finished; no service answers, or it refuses
  2    a mistake in the command line; nothing was done
  3    done, but some paths could not be read, sent, deleted or compared; they
       are named
  4    trees differ, or --cutover was not done: SRC is thawed again, or the last
       lines say what to do
  5    refused by a safety rule; nothing was deleted
  130  interrupted; what was copied stays, run it again to go on
`
