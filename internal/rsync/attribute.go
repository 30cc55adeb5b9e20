package rsync

import (
	"path"
	"strings"
)

// An index finds the entries that a text of the server names. Texts differ between releases, and names may hold any
// byte but NUL; so every reading that is possible is tried. To name an entry too many costs a second try of it, to name
// one too few would call in place what is not.
type index struct {
	byPath     map[string]int32 // path to place in the batch
	paths      []string
	root       string // the destination as the server may write it, see Dest.roots
	exact      bool
	partialDir string // "" unless relative
}

func newIndex(x *exchange) *index {
	ix := &index{byPath: make(map[string]int32, len(x.order)), paths: make([]string, 0, len(x.order))}
	for _, place := range x.order {
		p := x.b.Entries[place].Path
		ix.byPath[p] = place
		ix.paths = append(ix.paths, p)
	}
	ix.root, ix.exact = x.dialer.Dest.roots()
	if p := x.opts.PartialDir; p != "" && !strings.HasPrefix(p, "/") {
		ix.partialDir = path.Clean(p)
	}
	return ix
}

// maxQuotes bounds how many quotes of a text are taken for the ends of a name.
const maxQuotes = 24

// named returns the places of the entries that a text names.
func (ix *index) named(text string) []int32 {
	if found := ix.quoted(text); found != nil {
		return found
	}
	return ix.bare(text)
}

// quoted tries what stands between quotes: from the first quote on, the longest name first, because names may hold
// quotes. What stands after is what the text says about the entry, such as a symlink's target.
func (ix *index) quoted(text string) []int32 {
	var at []int
	for i := 0; i < len(text) && len(at) < maxQuotes; i++ {
		if text[i] == '"' {
			at = append(at, i)
		}
	}
	for from := range at {
		for to := len(at) - 1; to > from; to-- {
			if found := ix.locate(text[at[from]+1 : at[to]]); found != nil {
				return found
			}
		}
	}
	return nil
}

// bareForms are the texts that name a path without quotes: what stands before it, and after it.
var bareForms = []struct{ before, after string }{
	{"cannot delete non-empty directory: ", ""},
	{"could not make way for new regular file: ", ""},
	{"could not make way for new symlink: ", ""},
	{"could not make way for new hard-link: ", ""},
	{"could not make way for new device file: ", ""},
	{"could not make way for new special file: ", ""},
	{"could not make way for new directory: ", ""},
	{"ERROR: ", " failed verification -- update discarded"},
	{"ERROR: ", " failed verification -- update retained"},
	{"ERROR: ", " failed verification -- update put into partial-dir"},
	{"unlink(", ") failed"},
	{"rmdir(", ") failed"},
	{"acl_set(", ", ACL_TYPE_"}, // 3.5
	{"acl_get(", ", ACL_TYPE_"},
	{"acl_set_file(", ", ACL_TYPE_"}, // before
	{"acl_get_file(", ", ACL_TYPE_"},
	{"acl_delete_def(", "): "},
	{"acl_delete_def_file(", "): "},
	{"skipping directory ", ""},
	{"not creating new directory ", ""},
}

func (ix *index) bare(text string) []int32 {
	for _, f := range bareForms {
		_, rest, ok := strings.Cut(text, f.before)
		if !ok {
			continue
		}
		if f.after != "" {
			i := strings.LastIndex(rest, f.after)
			if i < 0 {
				continue
			}
			rest = rest[:i]
		}
		if found := ix.locate(rest); found != nil {
			return found
		}
	}
	return nil
}

// locate returns the entries that a path of the server may mean, nil if there is none.
func (ix *index) locate(name string) []int32 {
	found := ix.locateRaw(name)
	if strings.Contains(name, `\#`) { // a server's stderr is escaped, its messages are not
		found = append(found, ix.locateRaw(unescape(name))...)
	}
	return found
}

func (ix *index) locateRaw(name string) []int32 {
	absolute := strings.HasPrefix(name, "/")
	rel := strings.TrimPrefix(path.Clean("/"+name), "/")
	var found []int32
	if !absolute {
		found = ix.entry(found, rel) // relative to the destination
	}
	switch {
	case ix.root == "" && ix.exact:
		if absolute {
			found = ix.entry(found, rel)
		}
	case ix.exact:
		if rel == ix.root {
			found = ix.entry(found, "")
		} else if below, ok := strings.CutPrefix(rel, ix.root+"/"); ok {
			found = ix.entry(found, below)
		}
	case absolute:
		found = ix.suffixes(found, rel)
	}
	return found
}

// suffixes handles a remote shell whose directory is not known: the path that the server writes begins somewhere else.
func (ix *index) suffixes(found []int32, rel string) []int32 {
	if ix.root == "" {
		for {
			if more := ix.entry(found, rel); len(more) > len(found) {
				found = more
			}
			_, below, ok := strings.Cut(rel, "/")
			if !ok {
				return found
			}
			rel = below
		}
	}
	for text := "/" + rel + "/"; ; {
		_, below, ok := strings.Cut(text, "/"+ix.root+"/")
		if !ok {
			return found
		}
		found = ix.entry(found, strings.TrimSuffix(below, "/"))
		text = "/" + below
	}
}

// entry appends the entry at a path relative to the destination, or those for which a temporary file there may stand.
func (ix *index) entry(found []int32, rel string) []int32 {
	if rel == "" {
		rel = "."
	}
	if place, ok := ix.byPath[rel]; ok {
		return append(found, place)
	}
	dir, base := path.Split(rel)
	if ix.partialDir != "" {
		if parent, ok := strings.CutSuffix(strings.TrimSuffix(dir, "/"), ix.partialDir); ok {
			if place, ok := ix.byPath[parent+base]; ok {
				return append(found, place)
			}
			if parent != "" || dir != "" {
				dir = parent
			}
		}
	}
	return ix.temporary(found, dir, base)
}

// temporary reads ".NAME.XXXXXX". A NAME that begins with a dot gets no second one, and a long one is cut.
func (ix *index) temporary(found []int32, dir, base string) []int32 {
	const random = 6
	dot := len(base) - random - 1
	if dot < 2 || base[0] != '.' || base[dot] != '.' {
		return found
	}
	before := len(found)
	for _, name := range []string{base[1:dot], base[:dot]} {
		if place, ok := ix.byPath[dir+name]; ok {
			found = append(found, place)
		}
	}
	const cutFrom = 120 // the shortest limit of a file system for names is near 143 bytes
	if len(found) > before || dot < cutFrom {
		return found
	}
	for i, p := range ix.paths {
		if strings.HasPrefix(p, dir+base[1:dot]) || strings.HasPrefix(p, dir+base[:dot]) {
			found = append(found, ix.byPath[ix.paths[i]])
		}
	}
	return found
}

// unescape takes back \#ooo, which rsync writes for bytes that a terminal would not show.
func unescape(s string) string {
	octal := func(c byte) bool { return '0' <= c && c <= '7' }
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 < len(s) && s[i+1] == '#' && octal(s[i+2]) && octal(s[i+3]) && octal(s[i+4]) {
			b.WriteByte((s[i+2]-'0')<<6 | (s[i+3]-'0')<<3 | (s[i+4] - '0'))
			i += 4
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
