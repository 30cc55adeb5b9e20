package rsync

import (
	"strings"

	"github.com/syncd/syncd/internal/rsync/compress"
	"github.com/syncd/syncd/internal/rsync/delta"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// compat holds the compatibility flags of a server (2.1). Before protocol 30 it is 0.
type compat int32

const (
	compatIncRecurse compat = 1 << iota
	compatSymlinkTimes
	compatSymlinkIconv
	compatSafeFlist
	compatAvoidXattrOptim
	compatSeedFix
	compatInplacePartial
	compatVarintFlags
	compatID0Names
)

// terms is what client and server agreed on before the file list.
type terms struct {
	protocol int
	compat   compat
	checksum delta.Checksum
	compress compress.Method
	// unmet is what the options want and this server lacks. It is told in Send: a server that has refused an option
	// behaves in the setup as if it were old, and says so only after it.
	unmet error
}

// checksums are the names that we answer with, best first (2.3).
var checksums = []string{"xxh128", "xxh3", "xxh64", "md5", "sha1", "md4"}

// maxNames is the longest list of names that a peer may send, in bytes.
const maxNames = 255

// setup reads flags, names of algorithms and seed, and answers with one name of each: releases differ in who wins among
// several.
func (d *Dialer) setup(r *wire.Reader, w *wire.Writer, o *Options, protocol int) (terms, error) {
	t := terms{protocol: protocol}
	name := o.ChecksumChoice
	if protocol >= 30 {
		t.compat = compat(r.Varint())
	}
	negotiated := t.compat&compatVarintFlags != 0
	var theirs struct{ checksums, methods []string }
	if negotiated && name == "" {
		theirs.checksums = strings.Fields(r.Vstring(maxNames))
	}
	if negotiated && o.negotiates() {
		theirs.methods = strings.Fields(r.Vstring(maxNames))
	}
	if err := r.Err(); err != nil {
		return t, err
	}
	if negotiated && name == "" {
		if name = chooseChecksum(theirs.checksums); name == "" {
			return t, d.errorf(KindProtocol, "negotiate a checksum", "", "none of the server's is known: %q", theirs.checksums)
		}
		w.Vstring(name)
	}
	if err := d.chooseCompress(&t, o, negotiated, theirs.methods); err != nil {
		return t, err
	}
	if negotiated && o.negotiates() {
		w.Vstring(t.compress.String())
	}
	w.Flush()
	seed := r.Int32()
	if err := r.Err(); err != nil {
		return t, err
	}
	if t.compat&compatIncRecurse != 0 {
		return t, d.fail(KindProtocol, "setup", "", wire.Errorf("incremental recursion switched on and not asked for"))
	}
	h, err := d.hash(name, protocol)
	if err != nil {
		return t, err
	}
	t.checksum = delta.Checksum{Hash: h, Seed: seed, SeedFirst: t.compat&compatSeedFix != 0, Protocol: protocol}
	return t, w.Err()
}

func chooseChecksum(offered []string) string {
	for _, ours := range checksums {
		for _, theirs := range offered {
			if strings.EqualFold(ours, theirs) {
				return ours
			}
		}
	}
	return ""
}

// hash returns the checksum by its name, or the one that a protocol has without negotiation (2.2).
func (d *Dialer) hash(name string, protocol int) (delta.Hash, error) {
	switch {
	case name != "":
		h, ok := delta.ParseHash(strings.ToLower(name))
		if !ok {
			return 0, d.errorf(KindRefused, "--checksum-choice", "choose one of "+strings.Join(checksums, " "),
				"%q is unknown", name)
		}
		return h, nil
	case protocol < 30:
		return delta.MD4Old, nil
	}
	return delta.MD5, nil
}

// chooseCompress finds out how data travels. theirs are the names that the server has, if it negotiates.
func (d *Dialer) chooseCompress(t *terms, o *Options, negotiated bool, theirs []string) error {
	wanted, _ := compress.Parse(o.CompressChoice) // None without a name
	const hint = "choose another algorithm by --compress-choice, or do without compression"
	switch {
	case !o.Compress:
	case !o.negotiates():
		t.compress = wanted
	case !negotiated:
		t.compress = compress.Zlib
		if wanted != compress.None && wanted != compress.Zlib {
			t.unmet = d.errorf(KindRefused, "--compress-choice="+wanted.String(), hint,
				"the server has only zlib; others come with rsync 3.2")
		}
	case wanted != compress.None:
		if t.compress = compress.Choose(theirs, wanted); t.compress == compress.None {
			return d.errorf(KindRefused, "--compress-choice="+wanted.String(), hint, "the server has only %q", theirs)
		}
	default:
		if t.compress = compress.Choose(theirs, compress.Methods...); t.compress == compress.None {
			return d.errorf(KindRefused, "--compress", hint, "none of what the server has is known: %q", theirs)
		}
	}
	return nil
}
