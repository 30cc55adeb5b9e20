package config

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
)

// A UsageError is a mistake in the command line. It is found before anything
// is read from SRC or said to DEST.
type UsageError struct {
	What   string // the flag or argument at fault; may be empty
	Reason string
	Remedy string // what to do about it; may be empty
}

// Error is one line: "what: reason; remedy".
func (e *UsageError) Error() string {
	s := e.Reason
	if e.What != "" {
		s = e.What + ": " + s
	}
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// explain turns pflag's errors into ours.
func (f *flags) explain(err error) error {
	var (
		usage   *UsageError
		value   *pflag.InvalidValueError
		missing *pflag.ValueRequiredError
		unknown *pflag.NotExistError
		syntax  *pflag.InvalidSyntaxError
	)
	switch {
	case errors.As(err, &usage):
		if usage.What == "" && errors.As(err, &value) {
			usage.What = "--" + value.GetFlag().Name + "=" + printable(value.GetValue())
		}
		return usage
	case errors.As(err, &value):
		return &UsageError{What: "--" + value.GetFlag().Name, Reason: errors.Unwrap(err).Error()}
	case errors.As(err, &missing):
		return &UsageError{
			What:   dashed(missing.GetSpecifiedName()),
			Reason: "a value is missing",
			Remedy: "syncd --help shows what it takes",
		}
	case errors.As(err, &unknown):
		return f.unknown(unknown)
	case errors.As(err, &syntax):
		return &UsageError{
			What:   printable(syntax.GetSpecifiedFlag()),
			Reason: "not an option",
			Remedy: "a name that begins with dashes is given as ./NAME",
		}
	}
	return &UsageError{Reason: err.Error()}
}

func (f *flags) unknown(e *pflag.NotExistError) error {
	u := &UsageError{What: dashed(e.GetSpecifiedName()), Reason: "unknown option", Remedy: "syncd --help lists them"}
	if in := e.GetSpecifiedShortnames(); in != "" {
		if len(in) > 1 {
			u.What = fmt.Sprintf("-%s in -%s", printable(e.GetSpecifiedName()), printable(in))
		}
		// -delete for --delete: a short cluster that spells a long name.
		if name := nearest(in, f.names()); name != "" && len(in) > 2 {
			u.Remedy = "did you mean --" + name + "?"
		}
		return u
	}
	if name := nearest(e.GetSpecifiedName(), f.names()); name != "" {
		u.Remedy = "did you mean --" + name + "?"
	}
	return u
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + printable(name)
	}
	return "--" + printable(name)
}

// printable keeps a value on one line and a terminal sane.
func printable(s string) string {
	q := fmt.Sprintf("%q", s)
	return q[1 : len(q)-1]
}
