package audit

import "time"

// namedAlarms are kept of all.
const namedAlarms = 10

// An Alarm is a path that was different at the destination although nobody here has changed it.
type Alarm struct {
	Path string
	What string // in words
	At   time.Time
}

// A Status is how an audit stands.
type Status struct {
	Files, Bytes int64     // compared and equal, since the start
	Rounds       int64     // that came to their end
	Surveyed     time.Time // when names and attributes of all directories were compared last; zero: not yet
	Alarms       int64
	Last         []Alarm // the newest of them, the newest first
	Uncompared   int64   // reports of files that could not be read, here or there
	Trouble      string  // why the last comparison came to no end; "": it did
}

// Status returns how the audit stands.
func (a *Audit) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.status
	s.Last = append([]Alarm(nil), s.Last...)
	return s
}

// Surveyed reports whether the names and attributes of all directories were compared since Ahead(true).
func (a *Audit) Surveyed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.surveyed.IsZero()
}

// alarm counts, names and logs a difference that nobody here has made.
func (a *Audit) alarm(f finding) {
	a.log.Warn("the destination was changed there; it is made equal again", "path", f.path, "what", f.what)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Alarms++
	a.status.Last = append([]Alarm{{f.path, f.what, time.Now()}}, a.status.Last...)
	if len(a.status.Last) > namedAlarms {
		a.status.Last = a.status.Last[:namedAlarms]
	}
}

func (a *Audit) uncompared(path string, err error) {
	a.log.Warn("not compared by the audit", "path", path, "err", err)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Uncompared++
}

// failed notes why a comparison came to no end.
func (a *Audit) failed(err error) {
	a.mu.Lock()
	again := a.status.Trouble != ""
	a.status.Trouble = err.Error()
	a.mu.Unlock()
	if !again {
		a.log.Warn("the audit could not compare; it tries again", "err", err)
	}
}

// went notes that a comparison came to its end.
func (a *Audit) went(c counted) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Trouble = ""
	a.status.Files += c.files
	a.status.Bytes += c.bytes
}
