package chmod

import (
	"errors"
	"strconv"
	"strings"
)

var (
	errForm = errors.New("not a change of modes")
	errBoth = errors.New("only one of D and F")
)

// class has the bits of those that a letter names.
var class = map[byte]uint32{'u': 0o700, 'g': 0o070, 'o': 0o007, 'a': 0o777}

// parse reads one change: who, an operator and permissions; or a number.
func parse(s string, umask uint32) (item, error) {
	at := strings.IndexAny(s, "+-=01234567")
	if at < 0 {
		return item{}, errForm
	}
	it, who, err := parseWho(s[:at])
	if err != nil {
		return item{}, err
	}
	if s[at] >= '0' && s[at] <= '7' {
		return it.octal(s[at:], who)
	}
	// Without a class it is for all, but nothing is given that the umask withholds.
	where := who
	if who == 0 {
		who, where = permissions, permissions&^umask
	}
	op, perms := s[at], s[at+1:]
	if len(perms) == 1 && class[perms[0]] != 0 && perms != "a" {
		it.copies(op, perms[0], who, where)
		return it, nil
	}
	return it, it.letters(op, perms, s[:at], who, where)
}

// parseWho reads what stands before an operator.
func parseWho(s string) (it item, who uint32, err error) {
	it = item{dirs: true, files: true}
	for i := range len(s) {
		switch c := s[i]; {
		case c == 'D':
			it.files = false
		case c == 'F':
			it.dirs = false
		case class[c] != 0:
			who |= class[c]
		default:
			return it, 0, errForm
		}
	}
	if !it.dirs && !it.files {
		return it, 0, errBoth
	}
	return it, who, nil
}

func (it item) octal(s string, who uint32) (item, error) {
	n, err := strconv.ParseUint(s, 8, 64)
	if err != nil || n > all || who != 0 {
		return item{}, errForm
	}
	it.clear, it.set = all, uint32(n)
	return it, nil
}

// copies makes permissions of one class those of others.
func (it *item) copies(op, from byte, who, where uint32) {
	it.copy, it.where, it.minus = true, where, op == '-'
	it.from = map[byte]uint32{'u': 6, 'g': 3, 'o': 0}[from]
	if op == '=' {
		it.clear = who
		for c, bit := range map[byte]uint32{'u': setUID, 'g': setGID, 'o': sticky} {
			if who&class[c] != 0 {
				it.clear |= bit
			}
		}
	}
}

// letters reads permissions.
func (it *item) letters(op byte, perms, who string, cleared, where uint32) error {
	var bits, special uint32
	for i := range len(perms) {
		switch perms[i] {
		case 'r':
			bits |= 0o444 & where
		case 'w':
			bits |= 0o222 & where
		case 'x':
			bits |= execute & where
		case 'X':
			it.x, it.where = true, where
		case 's':
			if special |= setID(who); setID(who) == 0 {
				special = setUID // and a t before it is forgotten, as rsync does
			}
		case 't':
			special |= sticky
		default:
			return errForm
		}
	}
	switch bits |= special; op {
	case '-':
		it.minus, it.clear = true, bits
	case '=':
		it.clear, it.set = cleared, bits
		if special != 0 {
			it.clear |= setID(who)
		}
	default:
		it.set = bits
	}
	return nil
}

// setID are the set-id bits of the classes in who.
func setID(who string) uint32 {
	var bits uint32
	if strings.ContainsAny(who, "ua") {
		bits |= setUID
	}
	if strings.ContainsAny(who, "ga") {
		bits |= setGID
	}
	return bits
}
