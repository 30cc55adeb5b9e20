package config

import (
	"strconv"
	"strings"

	"github.com/syncd/syncd/internal/rsync/compress"
)

// compression is how data travels. Each of these flags but --no-compress asks for it, as in rsync.
func (f *flags) compression() {
	s := &f.c.Session
	choose := func(m compress.Method) error {
		s.Compress, s.CompressChoice = true, m.String()
		return nil
	}
	f.onOff(&s.Compress, "compress", "z")
	f.do("new-compress", "", func() error { return choose(compress.Zlibx) })
	f.do("old-compress", "", func() error { return choose(compress.Zlib) })
	for _, name := range []string{"compress-choice", "zc"} {
		f.value(name, "", func(v string) error {
			m, ok := compress.Parse(v)
			switch {
			case strings.EqualFold(v, "auto"):
				s.CompressChoice = ""
			case !ok:
				return &UsageError{
					Reason: "not an algorithm",
					Remedy: "give one of " + strings.Join(compress.Names(), ", ") + ", auto or none",
				}
			case m == compress.None:
				s.Compress, s.CompressChoice = false, ""
			default:
				return choose(m)
			}
			return nil
		})
	}
	for _, name := range []string{"compress-level", "zl"} {
		f.value(name, "", func(v string) error {
			n, err := strconv.Atoi(v)
			if err != nil {
				return &UsageError{Reason: "not a number", Remedy: "give 1 to 9 for zlib, 1 to 22 for zstd"}
			}
			s.Compress, s.CompressLevel, f.levelGiven = true, n, true
			return nil
		})
	}
	f.value("skip-compress", "", func(v string) error {
		suffixes, err := compress.ParseSuffixes(v)
		if err != nil {
			return &UsageError{Reason: err.Error(), Remedy: "write it as gz/jpg/mp[34]"}
		}
		s.Incompressible = &suffixes
		return nil
	})
}

// compressionOff takes back what level 0 takes back: zlib knows it as none. To the others it is their default.
func (f *flags) compressionOff() {
	s := &f.c.Session
	switch m, _ := compress.Parse(s.CompressChoice); m {
	case compress.Zlib, compress.Zlibx:
		s.Compress = s.Compress && !(f.levelGiven && s.CompressLevel == 0)
	}
}
