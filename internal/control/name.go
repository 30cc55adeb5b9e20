package control

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/syncd/syncd/internal/printable"
)

// Names of files are any bytes, and JSON holds only Unicode: a name that is not
// goes escaped under its key and as it is, in base64, under the key with _bytes.

func encodeName(name string) (text string, raw []byte) {
	if utf8.ValidString(name) {
		return name, nil
	}
	return printable.Text(name), []byte(name)
}

// unicode is for text that only people read, and which may hold names: where it
// has no JSON form it is escaped.
func unicode(s string) string {
	text, _ := encodeName(s)
	return text
}

func decodeName(text string, raw []byte) string {
	if raw != nil {
		return string(raw)
	}
	return text
}

type pathBytes struct {
	PathBytes []byte `json:"path_bytes,omitempty"`
}

// MarshalJSON keeps a path that is no UTF-8.
func (f Failure) MarshalJSON() ([]byte, error) {
	type plain Failure // without this method
	v := struct {
		plain
		pathBytes
	}{plain: plain(f)}
	v.Path, v.PathBytes = encodeName(f.Path)
	v.Reason = unicode(f.Reason)
	return json.Marshal(v)
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (f *Failure) UnmarshalJSON(p []byte) error {
	type plain Failure
	v := struct {
		*plain
		pathBytes
	}{plain: (*plain)(f)}
	if err := json.Unmarshal(p, &v); err != nil {
		return err
	}
	f.Path = decodeName(f.Path, v.PathBytes)
	return nil
}

// MarshalJSON keeps a path that is no UTF-8.
func (a Alarm) MarshalJSON() ([]byte, error) {
	type plain Alarm // without this method
	v := struct {
		plain
		pathBytes
	}{plain: plain(a)}
	v.Path, v.PathBytes = encodeName(a.Path)
	return json.Marshal(v)
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (a *Alarm) UnmarshalJSON(p []byte) error {
	type plain Alarm
	v := struct {
		*plain
		pathBytes
	}{plain: (*plain)(a)}
	if err := json.Unmarshal(p, &v); err != nil {
		return err
	}
	a.Path = decodeName(a.Path, v.PathBytes)
	return nil
}

// MarshalJSON keeps a path that is no UTF-8.
func (w Why) MarshalJSON() ([]byte, error) {
	type plain Why
	v := struct {
		plain
		pathBytes
	}{plain: plain(w)}
	v.Path, v.PathBytes = encodeName(w.Path)
	v.Reason, v.Item = unicode(w.Reason), unicode(w.Item)
	return json.Marshal(v)
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (w *Why) UnmarshalJSON(p []byte) error {
	type plain Why
	v := struct {
		*plain
		pathBytes
	}{plain: (*plain)(w)}
	if err := json.Unmarshal(p, &v); err != nil {
		return err
	}
	w.Path = decodeName(w.Path, v.PathBytes)
	return nil
}

// MarshalJSON keeps a path that is no UTF-8.
func (r Request) MarshalJSON() ([]byte, error) {
	type plain Request
	v := struct {
		plain
		pathBytes
	}{plain: plain(r)}
	v.Path, v.PathBytes = encodeName(r.Path)
	return json.Marshal(v)
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (r *Request) UnmarshalJSON(p []byte) error {
	type plain Request
	v := struct {
		*plain
		pathBytes
	}{plain: (*plain)(r)}
	if err := json.Unmarshal(p, &v); err != nil {
		return err
	}
	r.Path = decodeName(r.Path, v.PathBytes)
	return nil
}
