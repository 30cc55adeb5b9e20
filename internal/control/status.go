package control

import "time"

// A State is what the service is doing, in one word.
type State string

// The states. They are part of the JSON form: none is ever renamed.
const (
	Starting      State = "starting"                // setting watches, connecting for the first time
	Passing       State = "pass"                    // a pass compares the tree, changes flow meanwhile
	Live          State = "live"                    // only following changes
	Paused        State = "paused"                  // an operator said so; changes are still gathered
	Waiting       State = "waiting-for-destination" // it cannot be reached, or refuses everything
	SourceMissing State = "source-missing"          // the tree is not what it was; nothing is deleted
	HeldDeletes   State = "held-deletes"            // too many deletions wait for a yes; all else goes on
	Stopping      State = "stopping"
)

// A Status is one moment of the service. Its JSON form is for scripts and
// monitoring; WriteText is for people. Times that are zero do not apply and are
// left out of the JSON.
type Status struct {
	State  State     `json:"state"`
	Reason string    `json:"reason,omitempty"` // why it is in this state, in words; one line
	Since  time.Time `json:"since"`            // when the state began
	At     time.Time `json:"at"`               // the moment all of this is about; set by the server

	PID         int       `json:"pid"`
	Version     string    `json:"version"`
	Source      string    `json:"source"`
	Destination string    `json:"destination"`
	Started     time.Time `json:"started"`

	// Everything that changed before InSyncUpTo is at the destination. Zero: the
	// first pass has not ended, or has left something undone. InSyncLag is derived
	// from it by the server.
	InSyncUpTo time.Time `json:"in_sync_up_to,omitzero"`
	InSyncLag  *float64  `json:"in_sync_lag_seconds"` // null: never was

	Backlog  Backlog  `json:"backlog"`
	Failing  Failing  `json:"failing"`
	Rates    Rates    `json:"rates"`
	Sessions Sessions `json:"sessions"`
	Watch    Watch    `json:"watch"`
	Pass     *Pass    `json:"pass,omitempty"` // nil: none runs
	Held     *Held    `json:"held_deletes,omitempty"`
	Lost     []string `json:"lost,omitempty"`  // what the destination does not keep, in words; a line each
	Audit    *Audit   `json:"audit,omitempty"` // nil: without a state directory nothing is remembered
}

// A Backlog is what the destination does not have yet, failing paths included.
type Backlog struct {
	Lanes     []Lane    `json:"lanes"` // in the order in which they are served
	Oldest    time.Time `json:"oldest,omitzero"`
	OldestAge float64   `json:"oldest_age_seconds"` // derived from Oldest by the server; 0: nothing waits
}

// A Lane is the part of the backlog that waits for one kind of session.
type Lane struct {
	Name  string `json:"name"` // small, big, bulk, verify
	Paths int64  `json:"paths"`
	Bytes int64  `json:"bytes"`
}

// Sum is all lanes together.
func (b Backlog) Sum() (paths, bytes int64) {
	for _, l := range b.Lanes {
		paths += l.Paths
		bytes += l.Bytes
	}
	return paths, bytes
}

// Failing says which paths the destination refuses, or the source does not give.
type Failing struct {
	Total int64     `json:"total"` // all of them
	First []Failure `json:"first"` // some, those that fail the longest first
}

// A Failure is a path that is tried again and again.
type Failure struct {
	Path     string    `json:"path"` // from the root of the tree; any bytes
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	Since    time.Time `json:"since"`
	NextTry  time.Time `json:"next_try,omitzero"`
}

// Rates are averages over the last minute.
type Rates struct {
	Bytes float64 `json:"bytes_per_second"` // on the wire, both directions
	Files float64 `json:"files_per_second"` // acknowledged
}

// Sessions counts connections to the destination.
type Sessions struct {
	Running int   `json:"running"`
	Most    int   `json:"most"`                   // as many as may run now; fewer than asked if the server is full
	Limit   int64 `json:"limit_bytes_per_second"` // of all together, 0: none
}

// Watch says how changes are noticed, and counts since the start of the service.
type Watch struct {
	Mode     string  `json:"mode,omitempty"`             // inotify; scan: by passes alone
	Reason   string  `json:"reason,omitempty"`           // of scan, in words; one line
	Interval float64 `json:"interval_seconds,omitempty"` // of scan: between two passes

	Watches   int64 `json:"watches"`   // directories watched now
	Overflows int64 `json:"overflows"` // times that the kernel dropped events
	Rescans   int64 `json:"rescans"`   // subtrees compared again because of it, or of a failed watch
}

// A Pass is how far a pass has come.
type Pass struct {
	Started    time.Time `json:"started"`
	Files      int64     `json:"files"`       // compared
	FilesTotal int64     `json:"files_total"` // 0: not counted yet
	Bytes      int64     `json:"bytes"`       // of those files
	BytesTotal int64     `json:"bytes_total"` // 0: not counted yet
	At         string    `json:"at,omitempty"`
}

// Held is a storm of deletions that wait for a yes.
type Held struct {
	Paths int64     `json:"paths"`
	Limit int64     `json:"limit"` // of --max-delete
	Since time.Time `json:"since"`
}

// An Audit says how much of what the destination is known to have was proven equal, by checksum, since it changed last.
type Audit struct {
	On          bool  `json:"on"`
	Files       int64 `json:"files"` // regular files that the destination is known to have
	Bytes       int64 `json:"bytes"`
	ProvenFiles int64 `json:"proven_files"`
	ProvenBytes int64 `json:"proven_bytes"`

	FileRate float64 `json:"files_per_second"` // compared, over the last minute
	ByteRate float64 `json:"bytes_per_second"`
	// ProvenAll is when all will be proven if it goes on like that. Zero: all is, or it is not known. Derived by the
	// server.
	ProvenAll time.Time `json:"all_proven_at,omitzero"`
	Surveyed  time.Time `json:"surveyed,omitzero"` // when names and attributes of everything were compared last

	Alarms     int64   `json:"alarms"` // paths that somebody changed at the destination, since the start
	Last       []Alarm `json:"last"`   // some of them, the newest first
	Uncompared int64   `json:"uncompared"`
	Trouble    string  `json:"trouble,omitempty"` // why nothing could be compared; one line
}

// An Alarm is a path that was different at the destination although nothing here had changed it.
type Alarm struct {
	Path string    `json:"path"` // from the root of the tree; any bytes
	What string    `json:"what"`
	At   time.Time `json:"at"`
}

// until is when all will be proven at these rates: by the half that is slower, of files and of bytes.
func (a *Audit) until(now time.Time) time.Time {
	var left float64
	for _, half := range []struct {
		left int64
		rate float64
	}{{a.Files - a.ProvenFiles, a.FileRate}, {a.Bytes - a.ProvenBytes, a.ByteRate}} {
		switch {
		case half.left <= 0:
		case half.rate <= 0:
			return time.Time{}
		default:
			left = max(left, float64(half.left)/half.rate)
		}
	}
	const most = 10 * 365 * 86400 // seconds; more is as good as never
	if left == 0 || left > most {
		return time.Time{}
	}
	return now.Add(time.Duration(left * float64(time.Second)))
}

// A Verdict is how one path stands, in one word.
type Verdict string

// The verdicts. They are part of the JSON form: none is ever renamed.
const (
	Synced      Verdict = "synced"        // the destination acknowledged what is there now
	Queued      Verdict = "queued"        // covered by an item that waits
	Sending     Verdict = "sending"       // in flight
	FailingPath Verdict = "failing"       // tried in vain, will be tried again
	HeldDelete  Verdict = "held"          // its deletion waits for a yes
	Excluded    Verdict = "excluded"      // a filter leaves it out
	NotInSource Verdict = "not-in-source" // neither here nor queued
	Unknown     Verdict = "unknown"       // nothing is queued; when it was last sent is not known
)

// Why answers for one path.
type Why struct {
	Path     string    `json:"path"`
	Verdict  Verdict   `json:"verdict"`
	Reason   string    `json:"reason,omitempty"` // in words; one line
	Item     string    `json:"item,omitempty"`   // the queued item that covers it, such as Tree(a/b)
	Lane     string    `json:"lane,omitempty"`
	Queued   time.Time `json:"queued,omitzero"`
	Attempts int       `json:"attempts,omitempty"`
	NextTry  time.Time `json:"next_try,omitzero"`
	Acked    time.Time `json:"acknowledged,omitzero"` // last
	Verified time.Time `json:"verified,omitzero"`     // last compared by checksum and equal
}

// derive fills in what follows from the rest.
func (s *Status) derive(now time.Time) {
	if s.At.IsZero() {
		s.At = now
	}
	s.InSyncLag = nil
	if !s.InSyncUpTo.IsZero() {
		lag := max(s.At.Sub(s.InSyncUpTo), 0).Seconds()
		s.InSyncLag = &lag
	}
	s.Backlog.OldestAge = 0
	if !s.Backlog.Oldest.IsZero() {
		s.Backlog.OldestAge = max(s.At.Sub(s.Backlog.Oldest), 0).Seconds()
	}
	s.Reason, s.Source, s.Destination = unicode(s.Reason), unicode(s.Source), unicode(s.Destination)
	s.Watch.Reason = unicode(s.Watch.Reason)
	lost := s.Lost // the handler's own is not ours to change
	s.Lost = nil
	for _, words := range lost {
		s.Lost = append(s.Lost, unicode(words))
	}
	if s.Pass != nil {
		p := *s.Pass // the handler's own is not ours to change
		p.At = unicode(p.At)
		s.Pass = &p
	}
	if s.Audit != nil {
		a := *s.Audit
		a.Trouble, a.ProvenAll = unicode(a.Trouble), a.until(s.At)
		if a.Last == nil {
			a.Last = []Alarm{}
		}
		s.Audit = &a
	}
	// Scripts get [] and not null.
	if s.Backlog.Lanes == nil {
		s.Backlog.Lanes = []Lane{}
	}
	if s.Failing.First == nil {
		s.Failing.First = []Failure{}
	}
}
