package rsync

import (
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/rsync/compress"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// capabilities is what we can do, for servers of protocol 30 and later (1.7). Incremental recursion is left out.
// A variable so that tests can have a server behave like older ones.
var capabilities = "e.LsfxCIvu"

// maxArg is the longest argument that a daemon takes, in bytes (1.4).
const maxArg = 5120

// cluster returns the short options, in the order of stock clients (1.8).
func (o *Options) cluster(secluded bool) string {
	b := []byte{'-'}
	add := func(on bool, letter byte) {
		if on {
			b = append(b, letter)
		}
	}
	add(secluded, 's')
	add(o.Backup, 'b')
	add(o.Update, 'u')
	add(o.DryRun, 'n')
	add(o.Links, 'l')
	add(o.Delete, 'd')
	add(o.KeepDirlinks, 'K')
	add(o.OmitDirTimes, 'O')
	add(o.Fuzzy, 'y')
	add(o.WholeFile, 'W')
	add(o.HardLinks, 'H')
	add(o.Owner, 'o')
	add(o.Group, 'g')
	add(o.Devices, 'D')
	add(o.Times, 't')
	add(o.Atimes, 'U')
	add(o.Perms, 'p')
	add(o.ACLs, 'A')
	add(o.Xattrs, 'X')
	add(o.Checksum, 'c')
	add(o.IgnoreTimes, 'I')
	add(o.Sparse, 'S')
	add(o.negotiates(), 'z')
	if o.announced() >= 30 {
		b = append(b, capabilities...)
	}
	if len(b) == 1 {
		return ""
	}
	return string(b)
}

// long returns the options after the cluster, in the order of stock clients. protocol is 0 when it is not known yet.
func (o *Options) long(protocol int) []string {
	var a []string
	add := func(on bool, option ...string) {
		if on {
			a = append(a, option...)
		}
	}
	// The first, for a server reads nothing behind an option that it refuses, and what it negotiates depends on this one.
	add(o.ChecksumChoice != "", "--checksum-choice="+o.ChecksumChoice)
	add(o.Delete, "--no-r")
	if o.Devices != o.Specials {
		add(o.Devices, "--no-specials")
		add(o.Specials, "--specials")
	}
	add(o.Itemize && (protocol == 0 || protocol >= 29), "--log-format=%i") // before, nothing is said of what differs
	add(o.BlockSize > 0, "-B"+strconv.Itoa(o.BlockSize))
	add(o.Timeout > 0, "--timeout="+strconv.Itoa(seconds(o.Timeout)))
	add(o.Backup && o.BackupDir != "", "--backup-dir", o.BackupDir)
	add(o.Backup && o.Suffix != "" && (o.Suffix != "~" || o.BackupDir != ""), "--suffix="+o.Suffix)
	add(o.Compress && !o.negotiates(), "--new-compress")
	if o.Delete || o.DeleteMissing {
		add(o.MaxDelete > 0, "--max-delete="+strconv.Itoa(o.MaxDelete))
		add(o.MaxDelete == 0, "--max-delete=-1") // how a limit of none is spelled
	}
	add(o.MinSize > 0, "--min-size="+strconv.FormatInt(o.MinSize, 10))
	add(o.MaxSize > 0, "--max-size="+strconv.FormatInt(o.MaxSize, 10))
	add(o.Delete, "--delete-during")
	add(o.Delete && o.IgnoreErrors, "--ignore-errors")
	add(o.Force || o.DeleteMissing, "--force")
	add(o.SizeOnly, "--size-only")
	add(o.DeleteMissing, "--delete-missing-args")
	switch {
	case o.ModifyWindow > 0:
		add(true, "--modify-window="+strconv.Itoa(o.ModifyWindow))
	case o.ModifyWindow < 0:
		// Before protocol 31 no nanoseconds travel, and everything there that has some would look different.
		add(protocol == 0 || protocol >= 31, "-@-1")
	}
	add(o.ChecksumSeed != 0, "--checksum-seed="+strconv.Itoa(int(o.ChecksumSeed)))
	add(o.PartialDir != "", "--partial-dir", o.PartialDir)
	add(o.NumericIDs, "--numeric-ids")
	add(o.UserMap != "", "--usermap="+o.UserMap)
	add(o.GroupMap != "", "--groupmap="+o.GroupMap)
	add(o.IgnoreExisting, "--ignore-existing")
	add(o.Existing, "--existing")
	add(o.TempDir != "", "--temp-dir", o.TempDir)
	add(o.Fsync, "--fsync")
	add(o.Inplace && !o.AppendVerify, "--inplace")
	add(o.AppendVerify, "--append", "--append")
	add(o.Inplace && o.Sparse && !o.WholeFile, "--no-W") // without it a server takes the two for whole files
	add(o.Acks, "--remove-source-files")
	add(o.Preallocate, "--preallocate")
	add(o.OpenNoatime, "--open-noatime")
	add(o.Mkpath, "--mkpath")
	return a
}

// seconds rounds up: a timeout of less than a second is not none.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// target returns the last argument. Its trailing slash makes the server take it for a directory always (9.6).
func (d Dest) target() string {
	switch {
	case d.Kind != Shell:
		if d.Path == "" {
			return d.Module + "/"
		}
		return d.Module + "/" + d.Path + "/"
	case d.Path == "":
		return "."
	case strings.HasPrefix(d.Path, "-"):
		return "./" + strings.TrimRight(d.Path, "/") + "/"
	case strings.HasPrefix(d.Path, "~") && !strings.Contains(d.Path, "/"):
		return d.Path + "/"
	}
	return strings.TrimRight(d.Path, "/") + "/"
}

// roots returns what may stand before an entry's path in the server's words: the destination as the server sees it,
// cleaned and without slashes around it. exact is false when only the end of that is known.
func (d Dest) roots() (root string, exact bool) {
	if d.Kind != Shell {
		return d.Path, true
	}
	if strings.HasPrefix(d.Path, "/") {
		return strings.Trim(path.Clean(d.Path), "/"), true
	}
	p := d.Path
	if strings.HasPrefix(p, "~") {
		_, p, _ = strings.Cut(p, "/")
	}
	p = path.Clean(p)
	for p == ".." || strings.HasPrefix(p, "../") {
		p = strings.TrimPrefix(strings.TrimPrefix(p, ".."), "/")
	}
	if p == "." {
		p = ""
	}
	return strings.Trim(p, "/"), false
}

// checkOptions refuses what cannot be asked of any server, and puts what can into its usual form.
func (d *Dialer) checkOptions(o *Options) error {
	if o.Protocol != 0 && (o.Protocol < minProtocol || o.Protocol > maxProtocol) {
		return d.errorf(KindProtocol, "options", "", "protocol %d: want %d to %d", o.Protocol, minProtocol, maxProtocol)
	}
	if m, ok := compress.Parse(o.CompressChoice); o.CompressChoice != "" && (!ok || m == compress.None) {
		return d.errorf(KindRefused, "--compress-choice", "choose one of "+strings.Join(compress.Names(), " "),
			"%q is unknown", o.CompressChoice)
	}
	o.CompressChoice = strings.ToLower(o.CompressChoice)
	for _, v := range []string{o.PartialDir, o.TempDir, o.BackupDir, o.Suffix, o.UserMap, o.GroupMap, o.ChecksumChoice, d.Dest.Path, d.Dest.Module} {
		if strings.ContainsRune(v, 0) || len(v) > maxArg-64 {
			return d.errorf(KindRefused, "options", "", "argument too long or with a NUL byte: %q", clip(v))
		}
	}
	return nil
}

// checkServer refuses what a daemon of this version does not know. It would end the conversation, the older ones
// without a word.
func (d *Dialer) checkServer(o *Options, server int) error {
	for _, need := range []struct {
		on      bool
		option  string
		version int
		release string
	}{
		{o.DeleteMissing, "--delete-missing-args", 31, "3.1"},
		{o.Delete, "--delete-during", 29, "2.6.7"},
		{o.Acks, "--remove-source-files", 29, "2.6.9"},
		{o.AppendVerify, "--append-verify", 30, "3.0"},
		{o.Fuzzy, "--fuzzy", 29, "2.6.4"},
		{o.Preallocate, "--preallocate", 31, "3.1"},
		{o.Fsync, "--fsync", 31, "3.2.4"},
		{o.Atimes, "--atimes", 31, "3.2"},
		{o.OpenNoatime, "--open-noatime", 31, "3.2"},
		{o.UserMap != "", "--usermap", 31, "3.1"},
		{o.GroupMap != "", "--groupmap", 31, "3.1"},
		{o.Compress && !o.negotiates(), "--compress-choice=zlibx", 31, "3.1.1"},
	} {
		if need.on && server < need.version {
			return d.errorf(KindRefused, need.option, "install rsync "+need.release+" or later there, or do without it",
				"the server speaks protocol %d and does not know it", server)
		}
	}
	return nil
}

// checkProtocol refuses what has no form in the protocol agreed on.
func (d *Dialer) checkProtocol(o *Options, protocol int) error {
	if protocol >= 30 || !o.ACLs && !o.Xattrs {
		return nil
	}
	option := "--acls"
	if o.Xattrs {
		option = "--xattrs"
	}
	return d.errorf(KindRefused, option, "install rsync 3.0 or later there, or do without it",
		"it needs protocol 30, and %d is what both sides speak", protocol)
}

// sendArgs writes the arguments of the imaginary command to a daemon (1.4, 1.5). server is the version it announced.
func (d *Dialer) sendArgs(w *wire.Writer, o *Options, protocol, server int) error {
	// The daemon matches the path against what is there, quoted or not, and would write into what it finds.
	if strings.ContainsAny(d.Dest.Path, "*?[") {
		return d.errorf(KindRefused, "path "+d.Dest.Path,
			"name a directory without * ? [ in its path, or a module that begins there",
			"an rsync daemon takes * ? [ in a destination for wildcards")
	}
	if err := d.checkServer(o, server); err != nil {
		return err
	}
	long, target := o.long(protocol), d.Dest.target()
	values := append(long[:len(long):len(long)], target)
	secluded := server >= 30 && needSeclusion(values)
	clear := []string{"--server"}
	if c := o.cluster(secluded); c != "" {
		clear = append(clear, c)
	}
	rest := append(append(long[:len(long):len(long)], "."), target)
	if secluded {
		writeArgs(w, clear, protocol)
		writeArgs(w, append([]string{"rsync"}, rest...), maxProtocol)
		return nil
	}
	if protocol < 30 && strings.ContainsAny(strings.Join(values, ""), "\r\n") {
		return d.errorf(KindRefused, "arguments", "name a directory without line breaks",
			"protocol %d cannot carry a line break", protocol)
	}
	writeArgs(w, append(clear, rest...), protocol)
	return nil
}

// writeArgs writes one list: terminated by NUL, before protocol 30 by line breaks.
func writeArgs(w *wire.Writer, args []string, protocol int) {
	end := byte(0)
	if protocol < 30 {
		end = '\n'
	}
	for _, a := range args {
		if a == "" {
			a = "."
		}
		w.String(a)
		w.Byte(end)
	}
	w.Byte(end)
}

// needSeclusion reports whether a server might read an argument as something else than it is.
func needSeclusion(args []string) bool {
	for _, a := range args {
		if strings.ContainsAny(a, "*?[]{}\\ \t\r\n\"'`$&;|<>()!#~^") {
			return true
		}
	}
	return false
}

// shellArgs returns the arguments for a remote shell.
func (d *Dialer) shellArgs(o *Options) []string {
	args := []string{"--server"}
	if c := o.cluster(false); c != "" {
		args = append(args, c)
	}
	return append(append(args, o.long(0)...), ".", d.Dest.target())
}
