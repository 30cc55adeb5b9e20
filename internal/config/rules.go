package config

import (
	"io"
	"os"

	"github.com/syncd/syncd/internal/rsync/filter"
)

// rules are the filter flags in the order they were given. They are applied
// after the last argument, because --from0 counts wherever it stands.
type rules struct {
	add   []func(*filter.List) error
	perF  int // how often -F was given
	cvs   bool
	from0 bool
	stdin bool // they came from there
}

// selection are the flags that choose what is copied.
func (f *flags) selection() {
	f.on(&f.c.OneFS, "one-file-system", "x")
	f.rule("exclude", "", (*filter.List).Exclude)
	f.rule("include", "", (*filter.List).Include)
	f.rule("filter", "f", (*filter.List).Filter)
	f.rule("exclude-from", "", f.from((*filter.List).ExcludeFrom))
	f.rule("include-from", "", f.from((*filter.List).IncludeFrom))
	f.do("F", "F", f.perDirectory)
	f.onOff(&f.rules.cvs, "cvs-exclude", "C")
	f.on(&f.rules.from0, "from0", "0")
	f.text(&f.filesFrom, "files-from", "")
}

func (f *flags) rule(name, short string, add func(*filter.List, string) error) {
	f.value(name, short, func(value string) error {
		f.rules.add = append(f.rules.add, func(l *filter.List) error {
			if err := add(l, value); err != nil {
				return ruleError(name, value, err)
			}
			return nil
		})
		return nil
	})
}

func ruleError(name, value string, err error) error {
	if u, ok := err.(*UsageError); ok {
		u.What = "--" + name + "=" + printable(value)
		return u
	}
	return &UsageError{What: "--" + name, Reason: err.Error()}
}

// from reads a file of patterns; "-" is the standard input.
func (f *flags) from(add func(*filter.List, string, io.Reader, bool) error) func(*filter.List, string) error {
	return func(l *filter.List, name string) error {
		file, err := f.open(name, "patterns")
		if err != nil {
			return err
		}
		defer file.Close()
		if name == "-" {
			name, f.rules.stdin = "standard input", true
		}
		return add(l, name, file, f.rules.from0)
	}
}

// open opens a file that has what; "-" is the standard input.
func (f *flags) open(name, what string) (io.ReadCloser, *UsageError) {
	if name == "-" {
		return io.NopCloser(f.stdin), nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, &UsageError{Reason: reason(err), Remedy: "it must be a file of " + what + " that you can read"}
	}
	return file, nil
}

// perDirectory is -F: the first one merges each directory's .rsync-filter, a
// second one keeps those files themselves out of the copy.
func (f *flags) perDirectory() error {
	f.rules.perF++
	if second := f.rules.perF == 2; f.rules.perF <= 2 {
		f.rules.add = append(f.rules.add, func(l *filter.List) error { return l.PerDirectory(second) })
	}
	return nil
}

// build makes the list. The CVS rules come last, wherever -C stood (rsync(1)).
func (r *rules) build(l *filter.List) error {
	l.From0 = r.from0
	for _, add := range r.add {
		if err := add(l); err != nil {
			return err
		}
	}
	if !r.cvs {
		return nil
	}
	if err := l.CVS(); err != nil {
		return &UsageError{What: "-C", Reason: err.Error()}
	}
	return nil
}
