package embedded

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/syncd/syncd/internal/rsync/filter"
	"golang.org/x/sys/unix"
)

// guard holds the filter rules as a receiver applies them: what they exclude is protected from deletion (protocol 5).
// As a server that is not recursing, it reads the per-directory files of the directory that is pruned and of those
// below it that are to go, at the destination; what the directories above say came with the rules. A nil guard protects
// nothing.
type guard struct {
	dirs   *dirs
	styles map[string]style // of per-directory files, by their names
	keeper keeper           // rules of the command line alone
}

// style is how a per-directory file is written.
type style struct {
	full  bool // of rules that begin with their kind, not of bare patterns
	words bool // separated by white space
}

// keeper holds the rules in force inside one directory. The zero value protects nothing.
type keeper struct {
	scope  *filter.Scope
	doomed *filter.Scope // without those that do not count in a directory that is itself deleted
}

// newGuard reads rules as they stand on the wire. It opens files through d.
func newGuard(rules []string, base string, d *dirs) (*guard, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	g := &guard{dirs: d, styles: make(map[string]style)}
	scope := func(doomed bool) (*filter.Scope, error) {
		list := filter.List{Base: base}
		for _, text := range rules {
			if rule := g.receiver(text, doomed); rule != "" {
				if err := list.Filter(rule); err != nil {
					return nil, err
				}
			}
		}
		above := true // the root's own file is read when the root is pruned, not before
		s, err := list.Root(func(dir, name string) (io.ReadCloser, error) {
			if above {
				return nil, os.ErrNotExist
			}
			return g.open(dir, name, doomed)
		})
		above = false
		return s, err
	}
	var err error
	if g.keeper.scope, err = scope(false); err == nil {
		g.keeper.doomed, err = scope(true)
	}
	if err != nil {
		return nil, err
	}
	return g, nil
}

// in returns the rules inside a directory that is pruned.
func (g *guard) in(dir string) (keeper, error) {
	if g == nil {
		return keeper{}, nil
	}
	return g.keeper.enter(dir)
}

// enter returns the rules inside a child directory.
func (k keeper) enter(dir string) (keeper, error) {
	if k.scope == nil {
		return k, nil
	}
	scope, err := k.scope.Enter(dir)
	if err != nil {
		return k, err
	}
	doomed, err := k.doomed.Enter(dir)
	return keeper{scope, doomed}, err
}

// protects reports whether something may not be deleted; doomed says that the directory it is in is itself deleted.
func (k keeper) protects(path string, isDir, doomed bool) bool {
	switch {
	case k.scope == nil:
		return false
	case doomed:
		return k.doomed.Excluded(path, isDir)
	}
	return k.scope.Excluded(path, isDir)
}

// open reads a per-directory file at the destination, as the sender's view of a filter understands it.
func (g *guard) open(dir, name string, doomed bool) (io.ReadCloser, error) {
	at, err := g.dirs.open(dir)
	if err != nil {
		return nil, err
	}
	fd, err := openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	how, known := g.styles[name]
	if known && !how.full {
		return f, nil
	}
	defer f.Close()
	const most = 1 << 20
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if len(data) > most {
		return nil, fmt.Errorf("larger than %d bytes", most)
	}
	rules := strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' || r == '\r' })
	if how.words {
		rules = strings.Fields(string(data))
	}
	var b strings.Builder
	for _, rule := range rules {
		b.WriteString(g.receiver(rule, doomed))
		b.WriteByte('\n')
	}
	return io.NopCloser(strings.NewReader(b.String())), nil
}

// receiver rewrites a rule such that a sender excludes by it what a receiver protects: rules that only concern the
// sender are dropped (""), those that only concern the receiver lose their side, and perishable ones do not count in
// what is doomed. What is no rule is left for the filter package to complain about.
func (g *guard) receiver(text string, doomed bool) string {
	kind, rest, ok := ruleKind(text)
	if !ok {
		return text
	}
	end := strings.IndexAny(rest, " _")
	if end < 0 {
		end = len(rest)
	}
	modifiers, pattern := rest[:end], rest[end:]
	has := func(m string) bool { return strings.Contains(modifiers, m) }
	switch {
	case kind == 'H' || kind == 'S' || has("s") && !has("r") || has("x") || doomed && has("p"):
		return ""
	case kind == 'P':
		kind = '-'
	case kind == 'R':
		kind = '+'
	}
	if kind == ':' || kind == '.' {
		file := strings.TrimLeft(pattern, " _")
		how := style{full: !strings.ContainsAny(modifiers, "+-C"), words: has("w")}
		g.styles[file[strings.LastIndexByte(file, '/')+1:]] = how
	}
	modifiers = strings.NewReplacer("s", "", "r", "", "p", "").Replace(modifiers)
	return string(kind) + modifiers + pattern
}

var longRules = map[string]byte{
	"exclude": '-', "include": '+', "hide": 'H', "show": 'S', "protect": 'P', "risk": 'R', "merge": '.', "dir-merge": ':',
}

// ruleKind splits off the name of a rule that can have a side.
func ruleKind(text string) (kind byte, rest string, ok bool) {
	if text == "" {
		return 0, "", false
	}
	if end := strings.IndexAny(text, " _,"); end > 1 {
		if kind, ok := longRules[text[:end]]; ok {
			return kind, strings.TrimPrefix(text[end:], ","), true
		}
	}
	return text[0], strings.TrimPrefix(text[1:], ","), strings.IndexByte("-+HSPR.:", text[0]) >= 0
}
