package filter

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
)

// sides a rule works on; 0 = none named, which means both unless
// --delete-excluded is given.
type sides uint8

const (
	senderSide sides = 1 << iota
	receiverSide
)

type kind uint8

const (
	kindPattern  kind = iota
	kindClear         // !
	kindCVS           // -C: the built-in ignore list
	kindMerge         // . file
	kindDirMerge      // : name
)

// flags are the modifiers, of a rule or given to all rules of a merge file.
type flags struct {
	sides      sides
	include    bool
	absolute   bool // /
	negate     bool // !
	perishable bool // p
	xattr      bool // x
}

// syntax says how the text of a rule file is to be read.
type syntax struct {
	flags           // what every rule of the file gets
	style     style // how one rule is read
	cvs       bool  // C: a bare "!" clears
	wordSplit bool  // w
	noInherit bool  // n
}

type style uint8

const (
	full style = iota // every rule has its prefix
	old               // "- ", "+ " and a lone "!"; else a pattern: --exclude, --exclude-from
	bare              // patterns only: modifiers - and + of merge rules
)

// A statement is one rule as read.
type statement struct {
	flags
	kind        kind
	pattern     string // or file name
	excludeSelf bool   // e
	inner       syntax // of the file that a merge rule names
}

var longNames = map[string]byte{
	"clear": '!', "dir-merge": ':', "exclude": '-', "hide": 'H', "include": '+',
	"merge": '.', "protect": 'P', "risk": 'R', "show": 'S',
}

var errEmpty = errors.New("it has no pattern; write the pattern after one space or underscore")

// parse reads one rule written in the manner of s.
func parse(text string, s syntax) (statement, error) {
	st := statement{flags: s.flags}
	switch s.style {
	case bare:
		if s.cvs && text == "!" {
			st.kind = kindClear
			return st, nil
		}
		st.pattern = text
		return st, checkPattern(text)
	case old:
		switch {
		case text == "!":
			st.kind = kindClear
			return st, nil
		case strings.HasPrefix(text, "- "), strings.HasPrefix(text, "+ "):
			st.include = text[0] == '+'
			text = text[2:]
		}
		st.pattern = text
		return st, checkPattern(text)
	}
	return parseFull(text, s)
}

func checkPattern(p string) error {
	switch {
	case p == "":
		return errEmpty
	case len(p) >= MaxPattern:
		return fmt.Errorf("its pattern has %d bytes; shorten it to less than %d", len(p), MaxPattern)
	case strings.IndexByte(p, 0) >= 0:
		return errors.New("its pattern contains a zero byte; no name contains one, remove it")
	}
	return nil
}

func parseFull(text string, s syntax) (statement, error) {
	st := statement{}
	name, rest, err := ruleName(text)
	if err != nil {
		return st, err
	}
	named := false // the name itself says the side
	switch name {
	case '!':
		st.kind = kindClear
	case '.':
		st.kind = kindMerge
	case ':':
		st.kind = kindDirMerge
	case '+':
		st.include = true
	case 'H', 'S':
		st.sides, st.include, named = senderSide, name == 'S', true
	case 'P', 'R':
		st.sides, st.include, named = receiverSide, name == 'R', true
	}
	if st.kind == kindClear {
		if rest != "" && rest != "," {
			return st, errors.New("nothing may follow a clearing rule; remove what stands after it")
		}
		return st, nil
	}
	rest = strings.TrimPrefix(rest, ",")
	end := strings.IndexAny(rest, " _")
	modifiers := rest
	if end >= 0 {
		modifiers, st.pattern = rest[:end], rest[end+1:]
	}
	for i := range len(modifiers) {
		if !st.modify(modifiers[i], named) {
			return st, fmt.Errorf("modifier %q does not go with it; write a space or underscore before the pattern,"+
				" or see FILTER RULE MODIFIERS in rsync(1)", modifiers[i])
		}
	}
	return st, st.complete(s)
}

// ruleName splits off the short or long name of the rule at the start of text.
func ruleName(text string) (name byte, rest string, err error) {
	unknown := errors.New("no rule is called so; begin it with \"- \" to exclude or \"+ \" to include" +
		" (see FILTER RULES in rsync(1))")
	if text == "" {
		return 0, "", errEmpty
	}
	if 'a' <= text[0] && text[0] <= 'z' {
		end := strings.IndexAny(text, " _,")
		if end < 0 {
			end = len(text)
		}
		name, ok := longNames[text[:end]]
		if !ok {
			return 0, "", unknown
		}
		return name, text[end:], nil
	}
	if strings.IndexByte("!.:+-HSPR", text[0]) < 0 {
		return 0, "", unknown
	}
	return text[0], text[1:], nil
}

// modify applies one modifier and reports whether it is allowed.
func (st *statement) modify(c byte, named bool) bool {
	merge := st.kind == kindMerge || st.kind == kindDirMerge
	in := &st.inner
	switch c {
	case '/':
		st.absolute = true
	case 'p':
		st.perishable = true
	case 'x':
		st.xattr = true
	case 's', 'r':
		if named {
			return false
		}
		if c == 's' {
			st.sides |= senderSide
		} else {
			st.sides |= receiverSide
		}
	case '!':
		if merge {
			return false
		}
		st.negate = true
	case 'C':
		switch {
		case named || merge && in.style == bare:
			return false
		case merge:
			in.style, in.cvs, in.wordSplit, in.noInherit = bare, true, true, true
		default:
			st.kind = kindCVS
		}
	case '-', '+':
		if !merge || in.style == bare {
			return false
		}
		in.style, in.include = bare, c == '+'
	case 'e':
		st.excludeSelf = true
		return merge
	case 'n':
		in.noInherit = true
		return merge
	case 'w':
		in.wordSplit = true
		return merge
	default:
		return false
	}
	return true
}

// complete adds what the surrounding file s gives to all its rules and checks
// the whole.
func (st *statement) complete(s syntax) error {
	if s.sides != 0 && st.sides != 0 {
		return errors.New("it names a side, but the merge rule of its file does already; remove one of the two")
	}
	st.sides |= s.sides
	st.absolute = st.absolute || s.absolute
	st.perishable = st.perishable || s.perishable
	switch st.kind {
	case kindCVS:
		st.pattern = ""
		return nil
	case kindMerge, kindDirMerge:
		if st.inner.cvs && st.pattern == "" {
			st.pattern = ".cvsignore"
		}
		in := &st.inner
		in.sides, in.absolute, in.perishable = st.sides, st.absolute, st.perishable
	}
	return checkPattern(st.pattern)
}

// maxFile bounds a rule file: beyond it, it is no rule file.
const maxFile = 16 << 20

// readRules calls fn for each rule in the file, with its line, from 1.
func readRules(r io.Reader, s syntax, nul bool, fn func(text string, line int) error) error {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return err
	}
	if len(data) > maxFile {
		return fmt.Errorf("it is larger than %d MiB; is it a rule file?", maxFile>>20)
	}
	for line, rule := range lines(string(data), nul) {
		if s.wordSplit {
			for _, word := range strings.FieldsFunc(rule, func(c rune) bool { return c < 0x80 && isSpace(byte(c)) }) {
				if err := fn(word, line); err != nil {
					return err
				}
			}
			continue
		}
		if blank(rule) {
			continue
		}
		if err := fn(rule, line); err != nil {
			return err
		}
	}
	return nil
}

// Lines are the lines of a list of patterns or names, from 1, as rsync reads them: each ends with a line feed, a carriage
// return or both, or with nul at a zero byte. Those that are empty, or begin with # or ;, are left out.
func Lines(text string, nul bool) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for line, s := range lines(text, nul) {
			if !blank(s) && !yield(line, s) {
				return
			}
		}
	}
}

func blank(line string) bool { return line == "" || line[0] == '#' || line[0] == ';' }

func lines(text string, nul bool) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for line := 1; text != ""; line++ {
			end, skip := lineEnd(text, nul)
			if !yield(line, text[:end]) {
				return
			}
			text = text[skip:]
		}
	}
}

// lineEnd returns the length of the first line of text and where the next one
// starts. A carriage return ends a line as well, "\r\n" being one end.
func lineEnd(text string, nul bool) (end, skip int) {
	if nul {
		end = strings.IndexByte(text, 0)
	} else {
		end = strings.IndexAny(text, "\n\r")
	}
	if end < 0 {
		return len(text), len(text)
	}
	if strings.HasPrefix(text[end:], "\r\n") && !nul {
		return end, end + 2
	}
	return end, end + 1
}
