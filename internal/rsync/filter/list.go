// Package filter decides which names take part in a transfer, by rsync's filter
// rules: rsync(1), FILTER RULES, and section 5 of the protocol description.
//
// A [List] is built from the command line. [List.Root] turns it into the
// [Scope] of the transfer root, and [Scope.Enter] into the scope of each
// directory below, reading per-directory merge files on the way. A scope tells
// the sender what to leave out, and gives the rules for a server that deletes.
//
// It reads rules as rsync 3.5 does, down to its oddities, but for these points.
// A pattern that rsync drops because of its length is an error here, and so is
// a per-directory merge file that exists and cannot be read: rsync goes on
// without its rules, which copies and deletes what they forbid.
// Where -C is given with different modifiers, each use has its own; rsync gives
// the first one's to all. The merge files of -F and ": /name" in directories
// above the transfer root are
// read once, by [List.Root]; changes to them afterwards have no effect.
package filter

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// A List holds the rules of a command line, in its order. The zero value has no
// rules. It is built by one goroutine; scopes made from it do not change with it.
type List struct {
	// Open opens the file that a merge rule names, relative to the working
	// directory; nil means os.Open, with "-" for standard input.
	Open func(name string) (io.ReadCloser, error)
	// Base is the absolute path of the transfer root. Rules with the modifier /
	// are matched against it, and ": /name" rules look into the directories above
	// it. Empty: paths begin at the transfer root, nothing above is looked into.
	Base string
	// From0 says that merge files and per-directory merge files separate their
	// rules by zero bytes (--from0). It has no effect on word-split files.
	From0 bool

	rules []*rule
	cvs   bool
}

// A rule is one pattern, or one dir-merge rule. It is immutable.
type rule struct {
	flags
	text    string // pattern, from the transfer root if anchored; or file name as written
	pattern pattern
	above   bool // absolute, from a file above the transfer root: a server has other paths there
	merge   *dirMerge
}

// A dirMerge is the meaning of a ": name" rule.
type dirMerge struct {
	name  string // what to open in each directory: the last component
	inner syntax
	// nested: met in a per-directory file, so that a path in it counts from there.
	nested bool
}

// Exclude adds the pattern of an --exclude option. As with rsync, "+ x", "- x"
// and a lone "!" are understood, and an empty pattern is no rule.
func (l *List) Exclude(pattern string) error { return l.option(pattern, false) }

// Include adds the pattern of an --include option, in the manner of Exclude.
func (l *List) Include(pattern string) error { return l.option(pattern, true) }

func (l *List) option(pattern string, include bool) error {
	if pattern == "" {
		return nil
	}
	return l.build(func(b *builder) error {
		return b.add(pattern, syntax{flags: flags{include: include}, style: old})
	})
}

// Filter adds the rule of a --filter option. Merge files are read at once.
func (l *List) Filter(rule string) error {
	return l.build(func(b *builder) error { return b.add(rule, syntax{}) })
}

// ExcludeFrom adds the patterns of an --exclude-from file, one a line, or each
// ended by a zero byte when nul is set. name is for messages.
func (l *List) ExcludeFrom(name string, r io.Reader, nul bool) error {
	return l.build(func(b *builder) error { return b.addFile(name, r, syntax{style: old}, nul) })
}

// IncludeFrom adds the patterns of an --include-from file like ExcludeFrom.
func (l *List) IncludeFrom(name string, r io.Reader, nul bool) error {
	s := syntax{flags: flags{include: true}, style: old}
	return l.build(func(b *builder) error { return b.addFile(name, r, s, nul) })
}

// CVS is -C. Its rules come after all others, wherever it stands; they are
// read when Root is called.
func (l *List) CVS() error {
	l.cvs = true
	return nil
}

// PerDirectory is -F: the first adds ": /.rsync-filter", the second "- .rsync-filter".
func (l *List) PerDirectory(second bool) error {
	if second {
		return l.Filter("- .rsync-filter")
	}
	return l.Filter(": /.rsync-filter")
}

// HasMerge reports whether a per-directory merge file is among the rules, so
// that scopes may differ between directories.
func (l *List) HasMerge() bool {
	if l.cvs {
		return true
	}
	for _, r := range l.rules {
		if r.merge != nil {
			return true
		}
	}
	return false
}

// HasXattrRules reports whether the list has rules for names of extended attributes, which no scope looks at.
func (l *List) HasXattrRules() bool {
	for _, r := range l.rules {
		if r.xattr && r.merge == nil {
			return true
		}
	}
	return false
}

// Empty reports whether there are no rules at all.
func (l *List) Empty() bool { return len(l.rules) == 0 && !l.cvs }

func (l *List) build(add func(*builder) error) error {
	b := l.builder()
	if err := add(b); err != nil {
		return err
	}
	l.rules = b.rules
	return nil
}

func (l *List) builder() *builder {
	open := l.Open
	if open == nil {
		open = openFile
	}
	return &builder{rules: l.rules[:len(l.rules):len(l.rules)], open: open, from0: l.From0}
}

func openFile(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	return os.Open(name)
}

// A builder gathers rules: those of the command line, or those of one directory.
type builder struct {
	rules []*rule
	open  func(name string) (io.ReadCloser, error)
	from0 bool

	cleared bool                   // a "!" was met
	dir     string                 // of the per-directory merge file that is read; "" = the transfer root
	above   string                 // or that of a file above the transfer root, absolute
	below   string                 // and the way from there to the root
	known   func(name string) bool // among the dir-merge rules of the scope; nil on the command line
	// bothSides is set in what a per-directory file merges: rsync 3.5 heeds no sides there, not even those of
	// --delete-excluded.
	bothSides bool
	depth     int
	origin    string
}

// maxDepth bounds merge files that name each other.
const maxDepth = 32

// add reads one rule.
func (b *builder) add(text string, s syntax) error {
	st, err := parse(text, s)
	if err == nil {
		err = b.addStatement(st)
	}
	if err != nil && b.origin == "" {
		return named("filter rule", text, err)
	}
	return err
}

func named(what, text string, err error) error {
	if err == nil {
		return nil
	}
	var done *ruleError
	if errors.As(err, &done) {
		return err
	}
	return &ruleError{fmt.Errorf("%s %q: %w", what, text, err)}
}

// A ruleError names its rule already.
type ruleError struct{ error }

func (e *ruleError) Unwrap() error { return e.error }

func (b *builder) addStatement(st statement) error {
	if st.excludeSelf {
		self := &rule{text: path.Base(st.pattern)}
		self.pattern = compile(self.text)
		if b.known != nil {
			self.sides = senderSide | receiverSide // even with --delete-excluded, as in bothSides
		}
		b.rules = append(b.rules, self)
	}
	switch st.kind {
	case kindClear:
		b.rules, b.cleared = nil, true
		return nil
	case kindCVS:
		return b.addCVS(flags{sides: st.sides, include: st.include, absolute: st.absolute, negate: st.negate,
			perishable: st.perishable, xattr: st.xattr})
	case kindMerge:
		return b.merge(st)
	case kindDirMerge:
		return b.dirMerge(st)
	}
	if b.bothSides {
		st.sides = senderSide | receiverSide
	}
	text := st.pattern
	if b.above != "" && text[0] == '/' && !st.absolute {
		text, st.absolute = anchorAbove(b.above, b.below, text)
		if text == "" && !st.negate {
			return nil
		}
		text = cmp.Or(text, "/") // which matches nothing, so that its negation matches all
	} else if b.dir != "" && text[0] == '/' && !st.absolute {
		// The directory's name becomes part of the pattern unescaped, as in rsync: one with wildcards of its own may
		// not match itself. A server that reads the same file sees it so too.
		text = "/" + b.dir + text
	}
	b.rules = append(b.rules, &rule{flags: st.flags, text: text, pattern: compile(text),
		above: b.above != "" && st.absolute})
	return nil
}

func (b *builder) merge(st statement) error {
	if b.depth >= maxDepth {
		return fmt.Errorf("merge files are nested more than %d deep; does one merge itself?", maxDepth)
	}
	f, err := b.open(st.pattern)
	if err != nil {
		return fmt.Errorf("cannot read its file: %w; correct the name or remove the rule", err)
	}
	defer f.Close()
	dir, above, both := b.dir, b.above, b.bothSides
	b.bothSides = both || b.known != nil
	b.dir, b.above = "", "" // rsync anchors what "." merges at the transfer root, even within a per-directory file
	defer func() { b.dir, b.above, b.bothSides = dir, above, both }()
	return b.addFile(st.pattern, f, st.inner, b.from0)
}

func (b *builder) addFile(name string, r io.Reader, s syntax, nul bool) error {
	outer := b.origin
	defer func() { b.origin = outer; b.depth-- }()
	b.depth++
	if s.wordSplit {
		nul = false
	}
	err := readRules(r, s, nul, func(text string, line int) error {
		b.origin = fmt.Sprintf("%s:%d", name, line)
		if err := b.add(text, s); err != nil {
			return named(b.origin+": filter rule", text, err)
		}
		return nil
	})
	return named("filter file", name, err)
}

func (b *builder) dirMerge(st statement) error {
	name := path.Base(st.pattern)
	if strings.HasSuffix(st.pattern, "/") || name == "." || name == ".." {
		return errors.New("it names no file; write the name of the file to look for in each directory")
	}
	for _, r := range b.rules {
		if r.merge != nil && r.merge.name == name {
			return nil // rsync reads each file once, at its first place
		}
	}
	if b.known != nil && b.known(name) {
		return nil
	}
	b.rules = append(b.rules, &rule{flags: st.flags, text: st.pattern,
		merge: &dirMerge{name: name, inner: st.inner, nested: b.known != nil}})
	return nil
}
