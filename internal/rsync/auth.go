package rsync

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"strings"

	"github.com/mmcloughlin/md4"
)

// authDigest is a digest for the answer to a daemon's challenge (1.3).
type authDigest struct {
	name string
	new  func() hash.Hash
}

// authDigests are the digests that can be announced, strongest first.
var authDigests = []authDigest{
	{"sha512", sha512.New},
	{"sha256", sha256.New},
	{"sha1", sha1.New},
	{"md5", md5.New},
	{"md4", md4.New},
}

// chooseDigest returns the strongest digest of a daemon's list. ok is false when there is none in common.
func chooseDigest(offered []string) (d authDigest, ok bool) {
	for _, d := range authDigests {
		for _, name := range offered {
			if strings.EqualFold(name, d.name) {
				return d, true
			}
		}
	}
	return authDigest{}, false
}

// defaultDigest is what is used when not both sides announce digests. Before protocol 30 that is MD4 with four zero
// bytes first.
func defaultDigest(protocol int) authDigest {
	if protocol >= 30 {
		return authDigest{"md5", md5.New}
	}
	return authDigest{"md4", func() hash.Hash {
		h := md4.New()
		h.Write(make([]byte, 4))
		return h
	}}
}

// digestNames returns the names of all digests, as a greeting lists them.
func digestNames() string {
	names := make([]string, len(authDigests))
	for i, d := range authDigests {
		names[i] = d.name
	}
	return strings.Join(names, " ")
}

// response answers a challenge, which is hashed exactly as it was received.
func (d authDigest) response(password, challenge string) string {
	h := d.new()
	h.Write([]byte(password))
	h.Write([]byte(challenge))
	return base64.RawStdEncoding.EncodeToString(h.Sum(nil))
}
