package config

import "github.com/syncd/syncd/internal/chmod"

// chmod adds changes of modes to those that were given before.
func (f *flags) chmod(v string) error {
	all := v
	if before := f.c.Session.Chmod; before != nil {
		all = before.String() + "," + v
	}
	changes, err := chmod.Parse(all, chmod.Umask())
	if err != nil {
		return &UsageError{Reason: reason(err), Remedy: "write it as D755,F644 or ug+rw,o-w,+X"}
	}
	f.c.Session.Chmod = &changes
	return nil
}
