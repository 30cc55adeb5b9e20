// Package record keeps the report of a cutover in files.
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/syncd/syncd/internal/cutover"
)

// Suffix is added to the name of the report for people to make that of the report
// for programs.
const Suffix = ".json"

// Write makes path and path.json the report, as text and as JSON. Each is replaced
// as a whole and is on the disk when Write returns: whoever reads one while a
// cutover runs, or after a crash, sees this report or the one before. The
// directory must be there.
func Write(path string, r *cutover.Report) error {
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	// The one for programs first: where it is, people find it named by the other.
	if err := replace(path+Suffix, append(data, '\n')); err != nil {
		return err
	}
	return replace(path, text.Bytes())
}

// replace makes data the content of path.
func replace(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	// The mode of a temporary file is 0600: only who cuts over reads the names in it.
	// Not on the disk before it has its name, it could be empty after a crash.
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir brings the names in a directory to the disk.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// A Mark is a file in the state directory that stands for what the next start of the
// service has to know, should this process not end as it wants to.
type Mark struct{ path string }

// The names of the marks.
const (
	// Frozen: the source may be frozen. Its text is the thaw hook: whoever finds it at
	// the start runs that.
	Frozen = "frozen"
	// TakenOver: the destination serves. Its text is the path of the report: whoever
	// finds it at the start sends nothing.
	TakenOver = "taken-over"
)

// NewMark is a mark in a directory. In an empty one there is none: Set and Clear do
// nothing then.
func NewMark(dir, name string) Mark {
	if dir == "" {
		return Mark{}
	}
	return Mark{filepath.Join(dir, name)}
}

// Path is the file; "" if there is no mark.
func (m Mark) Path() string { return m.path }

// Set makes the mark, which is on the disk then.
func (m Mark) Set(text string) error {
	if m.path == "" {
		return nil
	}
	return replace(m.path, []byte(text))
}

// Clear removes it. That there is none is no error.
func (m Mark) Clear() error {
	if m.path == "" {
		return nil
	}
	if err := os.Remove(m.path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Find is the text of the mark; ok is false if there is none.
func (m Mark) Find() (text string, ok bool, err error) {
	if m.path == "" {
		return "", false, nil
	}
	data, err := os.ReadFile(m.path)
	if errors.Is(err, os.ErrNotExist) {
		return "", false, nil
	}
	return string(data), err == nil, err
}
