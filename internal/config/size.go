package config

import (
	"errors"
	"math/big"
	"strings"
)

// parseSize reads a size as rsync's --max-size does: bytes, or with a suffix
// B K M G T P (1024, also KiB) or KB MB ... (1000), a fraction, and +1 or -1 at
// the end. Upper and lower case are the same.
func parseSize(s string) (int64, error) {
	number, offset := s, int64(0)
	if t, ok := strings.CutSuffix(s, "+1"); ok {
		number, offset = t, 1
	} else if t, ok := strings.CutSuffix(s, "-1"); ok {
		number, offset = t, -1
	}
	digits := strings.TrimRight(number, "bBkKmMgGtTpPiI")
	unit, ok := sizeUnit(strings.ToUpper(number[len(digits):]))
	if !ok || strings.Trim(digits, "0123456789.") != "" || strings.Trim(digits, ".") == "" {
		return 0, errors.New("not a size")
	}
	r, ok := new(big.Rat).SetString(digits)
	if !ok {
		return 0, errors.New("not a size")
	}
	r.Mul(r, new(big.Rat).SetInt64(unit))
	n := new(big.Int).Div(r.Num(), r.Denom())
	n.Add(n, big.NewInt(offset))
	if !n.IsInt64() || n.Sign() < 0 {
		return 0, errors.New("size out of range")
	}
	return n.Int64(), nil
}

// sizeUnit is the factor of an upper-case suffix.
func sizeUnit(suffix string) (int64, bool) {
	if suffix == "" || suffix == "B" {
		return 1, true
	}
	power := strings.IndexByte("KMGTP", suffix[0]) + 1
	base := int64(1024)
	switch {
	case power == 0:
		return 0, false
	case len(suffix) == 1 || suffix[1:] == "IB":
	case suffix[1:] == "B":
		base = 1000
	default:
		return 0, false
	}
	unit := int64(1)
	for range power {
		unit *= base
	}
	return unit, true
}
