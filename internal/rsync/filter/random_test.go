package filter

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A generator makes random trees and rules that often meet.
type generator struct {
	*rand.Rand
	clean bool   // only rules that parse
	base  string // absolute path of the tree
	plain bool   // no dir-merge rules
	quiet bool   // merge files neither clear nor bring dir-merge rules
	cvs   bool   // -C is among the rules; then no modifiers go with it: rsync lets the first -C it meets decide for all
}

var components = []string{
	"a", "b", "ab", "abc", "a.o", "b.o", "[a]", "a*", `a\b`, "-", "x y", "_a", "!", "é", "a]b", "**", "b?", ".h",
}

var fragments = []string{
	"a", "b", "ab", ".o", "*", "*", "**", "***", "?", "[ab]", "[!a]", "[^b]", "[a-c]", "[[:alpha:]]", "[[:punct:]]",
	`\*`, `\[`,
	`\`, "[", "]", "-", "/", "/", "a/", "x y", "_", "!", "é", "[]a]", "[a-]", "[[:nope:]]", "[[:alpha:]-b]", `[\]a]`, "**/", "/**",
	"[!/]", "[,-0]", "a*a*a*b", "*/", "[a", "[[:a]", `[b-\c]`,
}

func pick[T any](g *generator, from []T) T { return from[g.IntN(len(from))] }

func (g *generator) chance(n int) bool { return g.IntN(n) == 0 }

func (g *generator) pattern() string {
	var b strings.Builder
	if g.chance(4) {
		b.WriteByte('/')
	}
	switch g.IntN(3) {
	case 0: // a path that may exist
		b.WriteString(pick(g, components))
		for g.chance(2) {
			b.WriteString("/" + pick(g, components))
		}
	case 1:
		for i := g.IntN(5); i >= 0; i-- {
			b.WriteString(pick(g, fragments))
		}
	default: // mostly a path, with something wild
		b.WriteString(pick(g, components))
		b.WriteString(pick(g, fragments))
		b.WriteString(pick(g, components))
	}
	switch g.IntN(8) {
	case 0, 1:
		b.WriteByte('/')
	case 2:
		b.WriteString("/***")
	}
	return b.String()
}

func (g *generator) modifiers(from string) string {
	s := ""
	for g.chance(4) {
		s += string(from[g.IntN(len(from))])
	}
	return s
}

var mergeNames = []string{".r", ".s", ".t"}

// mergeRef is a merge name as a dir-merge rule may give it.
func (g *generator) mergeRef() string {
	return pick(g, []string{"", "", "", "/", "../", "../../", "./"}) + pick(g, mergeNames)
}

// rule makes one rule in full syntax.
func (g *generator) rule(inFile bool) string {
	if !g.clean && g.chance(60) {
		return pick(g, []string{"x a", "-", "- ", "-q a", "! ", "clear x", "!,", "Hs a", ":", ":! a",
			".C /nope", ":C- a", "exclude", "P,r a", " - a"})
	}
	sep := pick(g, []string{" ", " ", "_"})
	n := g.IntN(30)
	if inFile && g.quiet && (n == 0 || n == 2 || n == 3) || g.plain && (n == 2 || n == 3) {
		n = 29
	}
	switch n {
	case 0:
		return pick(g, []string{"!", "clear"})
	case 1:
		if g.cvs {
			return "-C"
		}
	case 2, 3:
		if inFile && g.chance(3) {
			if g.cvs {
				return ". " + pick(g, []string{".m", "./.m", "../.m"})
			}
			if g.chance(2) {
				return ". " + pick(g, []string{"./.m", "../.m"})
			}
			return pick(g, []string{".", "merge", ".-", ".p", ".e", ".s", ".r"}) + " .m"
		}
		if g.cvs {
			return pick(g, []string{":", ":n", ":e"}) + " " + g.mergeRef()
		}
		return pick(g, []string{":", "dir-merge", ":n", ":e", ":-",
			":+", ":s", ":r", ":w-", ":C", ":n-", ":en", ":p", ":sr", ":we", ":/"}) + " " +
			g.mergeRef()
	case 4, 5, 6:
		return pick(g, []string{"H", "S", "P", "R", "hide", "show", "protect", "risk", "H,"}) + sep + g.pattern()
	case 7, 8:
		return pick(g, []string{"exclude", "include", "exclude,", "include,s", "exclude,p",
			"exclude,!", "exclude,r"}) + sep + g.pattern()
	}
	mod := "!psrx"
	if g.chance(8) {
		pattern := g.pattern()
		if g.chance(2) {
			pattern = g.base + "/" + pattern
		}
		return pick(g, []string{"-/", "+/", "-/!"}) + sep + pattern
	}
	return pick(g, []string{"-", "-", "+", "-,"}) + g.modifiers(mod) + sep + g.pattern()
}

// mergeFile makes the content of one merge file for any of the syntaxes.
func (g *generator) mergeFile() string {
	var b strings.Builder
	plain := g.chance(6) // fits bare-pattern files
	for i := g.IntN(5); i >= 0; i-- {
		switch {
		case g.chance(12):
			b.WriteString(pick(g, []string{"# note", "; note", "", "#"}))
		case plain && !g.clean:
			b.WriteString(g.pattern())
		default:
			b.WriteString(g.rule(true))
		}
		b.WriteString(pick(g, []string{"\n", "\n", "\n", "\r\n", "\r", "\n\n"}))
	}
	return b.String()
}

// tree fills dir with about n entries; merge files named as said are strewn in.
func (g *generator) tree(t testing.TB, dir string, n int, merges bool) {
	t.Helper()
	g.base = dir
	dirs := []string{dir}
	for range n {
		d := pick(g, dirs)
		p := filepath.Join(d, pick(g, components))
		if g.chance(2) && strings.Count(p[len(dir):], "/") < 5 {
			if os.Mkdir(p, 0o755) == nil {
				dirs = append(dirs, p)
			}
			continue
		}
		if f, err := os.OpenFile(p, os.O_CREATE|os.O_EXCL, 0o644); err == nil {
			f.Close()
		}
	}
	if !merges {
		return
	}
	for _, d := range dirs {
		if !g.chance(8) {
			write(t, filepath.Join(d, ".m"), g.mergeFile())
		}
	}
	for range 1 + g.IntN(1+len(dirs)) {
		write(t, filepath.Join(pick(g, dirs), pick(g, append(mergeNames, ".cvsignore"))), g.mergeFile())
	}
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// argument is one rule as an option of rsync, and how a List takes it.
type argument struct {
	option string
	add    func(*List) error
}

func (g *generator) arguments(n int) []argument {
	var out []argument
	for range n {
		text := g.rule(false)
		arg := argument{"--filter=" + text, func(l *List) error { return l.Filter(text) }}
		if g.chance(4) {
			text = pick(g, []string{"", "", "", "+ ", "- "}) + g.pattern()
			if g.chance(2) {
				arg = argument{"--exclude=" + text, func(l *List) error { return l.Exclude(text) }}
			} else {
				arg = argument{"--include=" + text, func(l *List) error { return l.Include(text) }}
			}
		}
		if g.cvs && g.chance(10) {
			arg = argument{"-C", func(l *List) error { return l.CVS() }}
		}
		out = append(out, arg)
	}
	return out
}

func options(args []argument) []string {
	var out []string
	for _, a := range args {
		out = append(out, a.option)
	}
	return out
}

func (a argument) String() string { return fmt.Sprintf("%q", a.option) }

// extras adds about n entries that the source does not have. Merge files come
// only into directories that are new: a destination's own merge files next to
// the source's are for the server alone.
func (g *generator) extras(t testing.TB, root string, n int) {
	t.Helper()
	old := map[string]bool{}
	dirs := []string{}
	filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			old[p] = true
			dirs = append(dirs, p)
		}
		return nil
	})
	for range n {
		p := filepath.Join(pick(g, dirs), pick(g, components))
		if g.chance(2) {
			if os.Mkdir(p, 0o755) == nil {
				dirs = append(dirs, p)
			}
			continue
		}
		if f, err := os.OpenFile(p, os.O_CREATE|os.O_EXCL, 0o644); err == nil {
			f.Close()
		}
	}
	if g.plain {
		return
	}
	g.quiet = true
	for _, d := range dirs {
		if !old[d] && g.chance(3) {
			write(t, filepath.Join(d, pick(g, mergeNames)), g.mergeFile())
		}
	}
}
