package control

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// age writes a duration with the two units that matter: 850ms, 12s, 3m12s, 4h05m, 3d07h.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < time.Minute:
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// size writes bytes with three digits: 512 B, 3.20 GiB.
func size(n int64) string { return sizeOf(float64(n)) }

func sizeOf(v float64) string {
	if v < 0 || math.IsNaN(v) {
		v = 0
	}
	if v < 999.5 {
		return strconv.FormatFloat(math.Round(v), 'f', 0, 64) + " B"
	}
	unit := -1
	for v >= 999.5 && unit < len(binaryUnits)-1 {
		v /= 1024
		unit++
	}
	return threeDigits(v) + " " + binaryUnits[unit:unit+1] + "iB"
}

const binaryUnits = "KMGTPE"

// threeDigits is v, less than 1000, with as many decimals as make three digits.
func threeDigits(v float64) string {
	decimals := 0
	switch {
	case v < 9.995:
		decimals = 2
	case v < 99.95:
		decimals = 1
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// count writes 1234567 as 1,234,567.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// plural is count with its noun: 1 path, 2 paths.
func plural(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return count(n) + " " + noun
}

// clock writes a moment as the operator's logs do.
func clock(t time.Time) string { return t.Format("2006-01-02 15:04:05") }
