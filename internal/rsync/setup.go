package rsync

import (
	"strings"

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
}

// checksums are the names that we answer with, best first (2.3).
var checksums = []string{"xxh128", "xxh3", "xxh64", "md5", "sha1", "md4"}

// maxNames is the longest list of names that a peer may send, in bytes.
const maxNames = 255

// setup reads flags, checksum names and seed, and answers with one name: releases differ in who wins among several.
func (d *Dialer) setup(r *wire.Reader, w *wire.Writer, o *Options, protocol int) (terms, error) {
	t := terms{protocol: protocol}
	name := o.ChecksumChoice
	if protocol >= 30 {
		t.compat = compat(r.Varint())
		if t.compat&compatVarintFlags != 0 && name == "" {
			offered := strings.Fields(r.Vstring(maxNames))
			if r.Err() == nil {
				if name = chooseChecksum(offered); name == "" {
					return t, d.errorf(KindProtocol, "negotiate a checksum", "", "none of the server's is known: %q", offered)
				}
				w.Vstring(name)
				w.Flush()
			}
		}
	}
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
