package ratelimit

import (
	"fmt"
	"math"
	"math/big"
	"strings"
)

// minRate is the least that rsync takes for --bwlimit before it rounds to KiB: so no rate is below 1 KiB/s.
const minRate = 512

// ParseRate reads a rate as rsync reads --bwlimit and returns bytes per second, rounded to whole KiB/s as there; 0 is no
// limit. A bare number is in KiB/s. The suffixes b, k, m, g, t, p, in any case, are powers of 1024, as with "ib" behind
// them (KiB); with "b" behind them (KB) they are powers of 1000. "+1" or "-1" at the end adds or takes a byte. The number
// may be a decimal fraction: "1.5m".
//
// In two things it is stricter than rsync, which reads them as "no limit": a text without a digit, and a rate that is
// not zero but below one byte.
func ParseRate(s string) (int64, error) {
	number, unit := splitNumber(s)
	multiple, offset, ok := parseUnit(unit)
	// SetString would take more forms than a plain number; the length bounds its work.
	value, valid := new(big.Rat), false
	if ok && len(number) <= 64 && strings.ContainsAny(number, "0123456789") {
		value, valid = value.SetString(number)
	}
	if !valid {
		return 0, fmt.Errorf("rate %q is not a number with a unit such as 4096 (KiB/s), 1.5m or 10MB; 0 is no limit", s)
	}
	if value.Sign() == 0 && offset == 0 {
		return 0, nil
	}
	value.Mul(value, new(big.Rat).SetInt64(multiple))
	bytes := new(big.Int).Quo(value.Num(), value.Denom())
	bytes.Add(bytes, big.NewInt(offset))
	if bytes.Cmp(big.NewInt(minRate)) < 0 {
		return 0, fmt.Errorf("rate %q is too small: the least is %d bytes per second, and 0 is no limit", s, minRate)
	}
	const half = 512
	kib := bytes.Add(bytes, big.NewInt(half)).Rsh(bytes, 10)
	if kib.Cmp(big.NewInt(math.MaxInt64>>10)) > 0 {
		return 0, fmt.Errorf("rate %q is too large: the most is 8191P", s)
	}
	return kib.Int64() << 10, nil
}

// splitNumber cuts s behind its digits with at most one point.
func splitNumber(s string) (number, unit string) {
	point := false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
		case c == '.' && !point:
			point = true
		default:
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// parseUnit reads what follows the number.
func parseUnit(s string) (multiple, offset int64, ok bool) {
	s = strings.ToLower(s)
	if rest, found := strings.CutSuffix(s, "+1"); found {
		s, offset = rest, 1
	} else if rest, found := strings.CutSuffix(s, "-1"); found {
		s, offset = rest, -1
	}
	if s == "" {
		return 1024, offset, true
	}
	power := strings.IndexByte("bkmgtp", s[0])
	base := int64(1024)
	switch s[1:] {
	case "", "ib":
	case "b":
		base = 1000
	default:
		return 0, 0, false
	}
	if power < 0 {
		return 0, 0, false
	}
	multiple = 1
	for range power {
		multiple *= base
	}
	return multiple, offset, true
}
