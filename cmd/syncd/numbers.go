package main

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// numbers writes quantities as rsync does: 1,234,567, or with -h 1.23M.
type numbers struct{ human bool }

// units are those of 1000, as rsync's -h has them.
const units = "KMGTP"

func (n numbers) int(v int64) string {
	if n.human && (v >= 1000 || v <= -1000) {
		return human(float64(v))
	}
	return group(strconv.FormatInt(v, 10))
}

// float writes two decimals.
func (n numbers) float(v float64) string {
	if n.human && v >= 1000 {
		return human(v)
	}
	return group(strconv.FormatFloat(v, 'f', 2, 64))
}

func human(v float64) string {
	unit := -1
	for math.Abs(v) >= 1000 && unit < len(units)-1 {
		v /= 1000
		unit++
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + units[unit:unit+1]
}

// group puts a comma before each three digits.
func group(s string) string {
	whole, frac, point := strings.Cut(s, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	var b strings.Builder
	b.WriteString(sign)
	for i := range len(whole) {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteByte(whole[i])
	}
	if point {
		b.WriteString("." + frac)
	}
	return b.String()
}

// clock writes a duration as hours, minutes and seconds, as rsync's progress does.
func clock(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	two := func(v int64) string { return string([]byte{'0' + byte(v/10), '0' + byte(v%10)}) }
	return strconv.FormatInt(s/3600, 10) + ":" + two(s/60%60) + ":" + two(s%60)
}
