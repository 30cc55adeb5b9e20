package filter

// This file matches one compiled glob against one text, byte by byte
// (protocol 5.3). Nothing here knows of anchors, directories or rules.

type opKind uint8

const (
	opByte  opKind = iota // exactly op.b
	opAny                 // ?  any byte but '/'
	opSet                 // [...]
	opStar                // *  any run without '/'
	opStars               // ** any run
	opNever               // a malformed class, or a backslash at the end: matches nothing
)

type op struct {
	kind opKind
	b    byte
	set  *byteSet
}

// A byteSet holds the bytes that a class matches; '/' is never among them.
type byteSet [4]uint64

func (s *byteSet) add(b byte)      { s[b>>6] |= 1 << (b & 63) }
func (s *byteSet) has(b byte) bool { return s[b>>6]&(1<<(b&63)) != 0 }

func (s *byteSet) addRange(lo, hi byte) {
	for c := int(lo); c <= int(hi); c++ {
		s.add(byte(c))
	}
}

func (s *byteSet) invert() {
	for i := range s {
		s[i] = ^s[i]
	}
}

// compileGlob never fails: a malformed pattern is one that matches nothing,
// as in rsync.
func compileGlob(p string) []op {
	ops := make([]op, 0, len(p))
	for i := 0; i < len(p); {
		switch c := p[i]; c {
		case '?':
			ops = append(ops, op{kind: opAny})
			i++
		case '*':
			n := 1
			for i+n < len(p) && p[i+n] == '*' {
				n++
			}
			kind := opStar
			if n > 1 {
				kind = opStars
			}
			ops = append(ops, op{kind: kind})
			i += n
		case '[':
			set, n := parseClass(p[i:])
			if n == 0 {
				return []op{{kind: opNever}}
			}
			ops = append(ops, op{kind: opSet, set: set})
			i += n
		case '\\':
			if i+1 == len(p) {
				return []op{{kind: opNever}}
			}
			ops = append(ops, op{b: p[i+1]})
			i += 2
		default:
			ops = append(ops, op{b: c})
			i++
		}
	}
	return ops
}

// parseClass reads the class at the start of p and returns its length, 0 if it
// is malformed: not closed, or with an unknown [:name:].
func parseClass(p string) (*byteSet, int) {
	set := new(byteSet)
	i, negated := 1, false
	if i < len(p) && (p[i] == '!' || p[i] == '^') {
		negated = true
		i++
	}
	prev := -1 // the byte that a range may start from
	for first := true; ; first = false {
		if i >= len(p) {
			return nil, 0
		}
		c := p[i]
		switch {
		case c == ']' && !first:
			if negated {
				set.invert()
			}
			set['/'>>6] &^= 1 << ('/' & 63)
			return set, i + 1
		case c == '-' && prev >= 0 && i+1 < len(p) && p[i+1] != ']':
			i++
			if p[i] == '\\' {
				if i++; i >= len(p) {
					return nil, 0
				}
			}
			set.addRange(byte(prev), p[i])
			prev = -1
			i++
		case c == '[' && i+1 < len(p) && p[i+1] == ':':
			n, ok := addNamed(set, p[i:])
			if !ok {
				return nil, 0
			}
			if n == 0 { // "[:" without ":]": an ordinary '['
				set.add(c)
				prev, n = int(c), 1
			} else {
				prev = -1
			}
			i += n
		default:
			if c == '\\' {
				if i++; i >= len(p) {
					return nil, 0
				}
				c = p[i]
			}
			set.add(c)
			prev = int(c)
			i++
		}
	}
}

// addNamed reads the [:name:] at the start of p. n is 0 when it is none; ok is
// false when the class that holds it is malformed.
func addNamed(set *byteSet, p string) (n int, ok bool) {
	end := 2
	for end < len(p) && p[end] != ']' {
		end++
	}
	if end == len(p) {
		return 0, false
	}
	if end < 3 || p[end-1] != ':' {
		return 0, true
	}
	member := namedClass(p[2 : end-1])
	if member == nil {
		return 0, false
	}
	for c := range 128 { // in every locale that rsync meets, bytes from 128 up are in no class
		if member(byte(c)) {
			set.add(byte(c))
		}
	}
	return end + 1, true
}

func namedClass(name string) func(byte) bool {
	lower := func(c byte) bool { return 'a' <= c && c <= 'z' }
	upper := func(c byte) bool { return 'A' <= c && c <= 'Z' }
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	alpha := func(c byte) bool { return lower(c) || upper(c) }
	alnum := func(c byte) bool { return alpha(c) || digit(c) }
	graph := func(c byte) bool { return '!' <= c && c <= '~' }
	switch name {
	case "alnum":
		return alnum
	case "alpha":
		return alpha
	case "blank":
		return func(c byte) bool { return c == ' ' || c == '\t' }
	case "cntrl":
		return func(c byte) bool { return c < ' ' || c == 0x7f }
	case "digit":
		return digit
	case "graph":
		return graph
	case "lower":
		return lower
	case "print":
		return func(c byte) bool { return c == ' ' || graph(c) }
	case "punct":
		return func(c byte) bool { return graph(c) && !alnum(c) }
	case "space":
		return isSpace
	case "upper":
		return upper
	case "xdigit":
		return func(c byte) bool { return digit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }
	}
	return nil
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// one reports whether o, which is no star, matches the byte c.
func (o *op) one(c byte) bool {
	switch o.kind {
	case opByte:
		return o.b == c
	case opAny:
		return c != '/'
	case opSet:
		return o.set.has(c)
	}
	return false
}

// matchGlob reports whether ops match all of text. It tries the greedy way
// first, which is linear for patterns that people write; when a hostile pattern
// has used up the steps for that, it follows all ways at once, which takes at
// most len(ops)*len(text) steps.
func matchGlob[T string | []byte](ops []op, text T) bool {
	budget := 16*(len(ops)+len(text)) + 256
	if matched, done := matchGreedy(ops, text, budget); done {
		return matched
	}
	return matchAll(ops, text)
}

// matchGreedy needs to remember only the last * and the last **. An earlier *
// cannot help a later one: between them lies either no '/', and then the later
// one reaches whatever the earlier could have left to it; or a '/', which fixes
// where the earlier one ends. And a ** reaches everything that comes after.
func matchGreedy[T string | []byte](ops []op, text T, budget int) (matched, done bool) {
	i, j := 0, 0
	starOp, starText := -1, 0
	starsOp, starsText := -1, 0
	for {
		if budget--; budget < 0 {
			return false, false
		}
		if i < len(ops) {
			switch o := &ops[i]; o.kind {
			case opStar:
				starOp, starText = i, j
				i++
				continue
			case opStars:
				starsOp, starsText = i, j
				starOp = -1
				i++
				continue
			default:
				if j < len(text) && o.one(text[j]) {
					i++
					j++
					continue
				}
			}
		} else if j == len(text) {
			return true, true
		}
		switch {
		case starOp >= 0 && starText < len(text) && text[starText] != '/':
			starText++
			i, j = starOp+1, starText
		case starsOp >= 0 && starsText < len(text):
			starsText++
			starOp = -1
			i, j = starsOp+1, starsText
		default:
			return false, true
		}
	}
}

// matchAll keeps the set of all positions in ops that the text read so far can
// lead to.
func matchAll[T string | []byte](ops []op, text T) bool {
	var room [2][MaxPattern/64 + 1]uint64
	now, next := room[0][:], room[1][:]
	if words := len(ops)/64 + 1; words > len(now) { // a pattern below a very long directory name
		now, next = make([]uint64, words), make([]uint64, words)
	}
	reach := func(set []uint64, i int) { // a star may match nothing
		for {
			set[i>>6] |= 1 << (i & 63)
			if i == len(ops) || ops[i].kind != opStar && ops[i].kind != opStars {
				return
			}
			i++
		}
	}
	reach(now, 0)
	for j := range len(text) {
		c := text[j]
		clear(next)
		for i := range ops {
			if now[i>>6]&(1<<(i&63)) == 0 {
				continue
			}
			switch o := &ops[i]; {
			case o.kind == opStars, o.kind == opStar && c != '/':
				reach(next, i)
			case o.kind != opStar && o.one(c):
				reach(next, i+1)
			}
		}
		now, next = next, now
	}
	return now[len(ops)>>6]&(1<<(len(ops)&63)) != 0
}
