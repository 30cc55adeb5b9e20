package filter

import "strings"

// MaxPattern is the length in bytes that a pattern must stay below. rsync drops
// longer ones with a warning; here they are errors.
const MaxPattern = 4096

// How a pattern is compared, decided once.
type method uint8

const (
	baseEqual  method = iota // name: the last component is lit
	baseSuffix               // *lit
	basePrefix               // lit*
	baseGlob                 // any other glob without slash and **
	pathEqual                // /a/b or a/b, without wildcards
	pathGlob                 // the rest
)

// A pattern is one compiled pattern (protocol 5.3). It is immutable.
type pattern struct {
	method   method
	dirOnly  bool // written with a '/' at the end
	anchored bool // written with a '/' at the start
	stars    bool // contains **
	lead     bool // starts with **
	tree     bool // ends with ***: matches a directory and all that is in it
	slashes  int
	lit      string
	ops      []op
}

// Literal is a name as a pattern that nothing else matches.
func Literal(name string) string {
	if !strings.ContainsAny(name, "*?[") {
		return name
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

func compile(s string) pattern {
	var p pattern
	if len(s) > 1 && s[len(s)-1] == '/' {
		p.dirOnly = true
		s = s[:len(s)-1]
	}
	p.slashes = strings.Count(s, "/")
	wild := strings.ContainsAny(s, "*?[")
	p.stars = strings.Contains(s, "**")
	p.lead = strings.HasPrefix(s, "**")
	p.tree = strings.HasSuffix(s, "***")
	if s[0] == '/' {
		p.anchored = true
		s = s[1:]
	}
	p.lit = s
	switch base := p.slashes == 0 && !p.stars; {
	case !wild && base:
		p.method = baseEqual
	case !wild:
		p.method = pathEqual
	case base && s[0] == '*' && !strings.ContainsAny(s[1:], `*?[\/`):
		p.method, p.lit = baseSuffix, s[1:]
	case base && s[len(s)-1] == '*' && !strings.ContainsAny(s[:len(s)-1], `*?[\/`):
		p.method, p.lit = basePrefix, s[:len(s)-1]
	case base:
		p.method, p.ops = baseGlob, compileGlob(s)
	default:
		p.method, p.ops = pathGlob, compileGlob(s)
	}
	return p
}

// match reports whether the pattern matches path. prefix is what stands before
// path when the rule looks at more than the transfer (modifier /), else empty.
func (p *pattern) match(prefix, path string, isDir bool) bool {
	if p.dirOnly && !isDir {
		return false
	}
	switch p.method {
	case baseEqual:
		return lastComponent(path) == p.lit
	case baseSuffix:
		return strings.HasSuffix(lastComponent(path), p.lit)
	case basePrefix:
		return strings.HasPrefix(lastComponent(path), p.lit)
	case baseGlob:
		return matchGlob(p.ops, lastComponent(path))
	}
	if prefix == "" && !p.lead && !(p.tree && isDir) {
		return matchCandidates(p, path)
	}
	var room [512]byte
	text := room[:0]
	if p.lead {
		text = append(text, '/') // lets **/x match a top-level x
	}
	if prefix != "" {
		text = append(text, prefix...)
		text = append(text, '/')
	}
	text = append(text, path...)
	if p.tree && isDir {
		text = append(text, '/')
	}
	return matchCandidates(p, text)
}

// matchCandidates tries the parts of text that the pattern may be compared with.
func matchCandidates[T string | []byte](p *pattern, text T) bool {
	switch {
	case p.anchored || p.lead:
		return matchWhole(p, text)
	case p.stars:
		if matchGlob(p.ops, text) {
			return true
		}
		for i := range len(text) {
			if text[i] == '/' && matchGlob(p.ops, text[i+1:]) {
				return true
			}
		}
		return false
	}
	left := p.slashes // exactly the last slashes+1 components
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] != '/' {
			continue
		}
		if left == 0 {
			return matchWhole(p, text[i+1:])
		}
		left--
	}
	return left == 0 && matchWhole(p, text)
}

func matchWhole[T string | []byte](p *pattern, text T) bool {
	if p.method == pathEqual {
		return string(text) == p.lit // the compiler does not copy for a comparison
	}
	return matchGlob(p.ops, text)
}

func lastComponent(path string) string {
	return path[strings.LastIndexByte(path, '/')+1:]
}
