package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/gokrazy/rsync/rsyncd"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsync/wire"
	"golang.org/x/sys/unix"
)

// moduleName is how the staging directory is called in the conversation with its server.
const moduleName = "stage"

// Files up to smallFile go through memory, in portions of at most portion bytes; larger ones through the destination's
// file system.
const (
	smallFile = 1 << 20
	portion   = 8 << 20
)

// transfer brings the data of the pending files: into a staging directory first, then each to its place.
func (s *send) transfer() {
	small, rest := s.portions()
	if len(small) > 0 {
		if st := s.d.memoryStage(portion); st != nil {
			for _, todo := range small {
				rest = append(rest, s.transferBy(todo, st)...)
			}
			rest = append(rest, s.grown...)
			s.dropStage(st)
		} else {
			rest = append(slices.Concat(small...), rest...)
		}
	}
	if len(rest) == 0 || s.ended() {
		return
	}
	near, _ := split(s.entries[rest[0].i].Path)
	st, err := s.d.newStage(&s.dirs, near)
	if err != nil {
		s.failAll(rest, err)
		return
	}
	s.transferBy(rest, st)
	s.dropStage(st)
}

// portions divides the pending files.
func (s *send) portions() (small [][]pendingFile, large []pendingFile) {
	var bytes int64
	for _, f := range s.files {
		size := s.entries[f.i].Size
		if size > smallFile {
			large = append(large, f)
			continue
		}
		if bytes += size; len(small) == 0 || bytes > portion {
			small, bytes = append(small, nil), size
		}
		last := &small[len(small)-1]
		*last = append(*last, f)
	}
	return small, large
}

// transferBy brings files by way of a staging directory. The server ends a session at the first file that fails; that
// file is settled, and a new session goes on with the rest. So there are never more sessions than files, and one that
// achieves nothing is the last. It returns those for which there was not enough memory.
func (s *send) transferBy(todo []pendingFile, st *stage) []pendingFile {
	for len(todo) > 0 && !s.ended() {
		r := s.runSession(todo, st, s.asked)
		s.asked += len(todo)
		sum, got := &s.rep.Stats, r.report.Stats
		sum.Sent, sum.Received, sum.ListBytes = sum.Sent+got.Sent, sum.Received+got.Received, sum.ListBytes+got.ListBytes
		sum.Literal += got.Literal
		todo = s.settle(todo, st, r)
		if st.memory && errors.Is(r.server, unix.ENOSPC) {
			return todo
		}
	}
	return nil
}

func (s *send) dropStage(st *stage) {
	if err := s.d.removeStage(&s.dirs, st); err != nil {
		s.rep.Loose = append(s.rep.Loose, fmt.Sprintf("remove %q: %v", st.abs, err))
	}
}

func (s *send) failAll(todo []pendingFile, err error) {
	for _, f := range todo {
		s.fail(f.i, fmt.Errorf("%q: %w", s.entries[f.i].Path, err))
	}
}

// sessionResult is what one session left behind.
type sessionResult struct {
	first  int // number of its first file
	report *rsync.Report
	source []error // what the source said, by file
	parts  []*part // the same; nil: the file has none
	client error   // why the session ended early, as our client sees it
	server error   // the same as the server sees it: the kernel's error
}

// stagedName is the name of the n-th file that this Send asks for. No name is used twice, so nothing that an earlier
// session left can be mistaken for another file. All have one length: the order of the list is that of the names.
func stagedName(n int) string { return strconv.Itoa(1e9 + n) }

func (r *sessionResult) err() error { return kernel(cmp.Or(r.server, r.client)) }

// errIgnored says that the server did not keep a file that was sent to it, and said nothing.
var errIgnored = errors.New("not kept by the receiver")

// settle moves what has arrived into place and returns the files to try again.
func (s *send) settle(todo []pendingFile, st *stage, r sessionResult) (again []pendingFile) {
	culprit := -1
	noMemory := st.memory && errors.Is(r.server, unix.ENOSPC)
	for k, f := range todo {
		if s.ended() {
			return nil // the rest stays Pending
		}
		got, name := r.report.Results[k+1], stagedName(r.first+k)
		res := &s.rep.Results[f.i]
		res.Literal += got.Literal
		switch {
		case r.parts[k].arrived(st, name):
			s.rep.Stats.Files++
			s.rep.Stats.FileBytes += got.Literal
			err := s.place(f, st, name)
			if errors.Is(err, errEnded) {
				return nil
			}
			r.parts[k].drop()
			if err != nil {
				s.fail(f.i, err)
			} else if res.State = rsync.Acked; errors.Is(r.source[k], rsync.ErrChanged) {
				res.State, res.Err = rsync.Changed, r.source[k]
			}
		case r.source[k] == errGrown:
			s.grown = append(s.grown, f)
		case r.source[k] != nil && !errors.Is(r.source[k], rsync.ErrChanged):
			// Before protocol 30 a file that cannot be read to its end is sent with a wrong sum, which ends the session.
			res.State, res.Err = rsync.NotSent, r.source[k]
			culprit = max(culprit, k)
		case r.server == nil && r.client == nil:
			s.fail(f.i, fmt.Errorf("receive %q: %w", s.entries[f.i].Path, errIgnored))
		case culprit < 0 && !noMemory: // in the order of the list, this one broke the session
			culprit = k
			if _, ok := errors.AsType[unix.Errno](r.server); r.server != nil && !ok {
				r.parts[k].drop() // it may be to blame
			}
			s.fail(f.i, fmt.Errorf("receive %q: %w", s.entries[f.i].Path, r.err()))
		default:
			again = append(again, f)
		}
	}
	if len(again) == len(todo) && !noMemory {
		s.failAll(again, r.err())
		return nil
	}
	return again
}

// runSession sends files, the first of which has the given number, into the staging directory.
func (s *send) runSession(todo []pendingFile, st *stage, first int) sessionResult {
	server := &stageServer{dir: st.abs, files: len(todo)}
	dialer := rsync.Dialer{
		Dest: rsync.Dest{Kind: rsync.Daemon, Host: "embedded", Module: moduleName},
		Dial: server.dial,
		Wrap: s.d.Wrap,
	}
	r := sessionResult{first: first, source: make([]error, len(todo)), parts: make([]*part, len(todo))}
	for k, f := range todo {
		r.parts[k] = s.part(f, st, stagedName(first+k))
	}
	batch := s.stagedBatch(todo, st, &r)
	session, err := dialer.Connect(s.ctx, rsync.Options{Protocol: 27})
	if err == nil {
		r.report, err = session.Send(s.ctx, batch)
	}
	if r.report == nil {
		r.report = &rsync.Report{Results: make([]rsync.Result, len(batch.Entries))}
	}
	r.client, r.server = err, server.wait(s.ctx)
	return r
}

// errGrown says that a file that was small when it was listed is not any more: it must not fill the memory.
var errGrown = errors.New("too large for memory")

// stagedBatch lists the files under their names in the staging directory, after the directory itself. Only size and
// content matter: the attributes are set here. The errors of the source are noted, so that they can be told from those
// of a session that broke meanwhile.
func (s *send) stagedBatch(todo []pendingFile, st *stage, r *sessionResult) *rsync.Batch {
	entries := make([]flist.Entry, 0, len(todo)+1)
	entries = append(entries, flist.Entry{Path: ".", Mode: unix.S_IFDIR | 0o700})
	for k, f := range todo {
		entries = append(entries, flist.Entry{
			Path: stagedName(r.first + k), Mode: unix.S_IFREG | 0o600, Size: s.entries[f.i].Size,
		})
	}
	return &rsync.Batch{
		Entries: entries,
		Open: func(k int) (rsync.File, error) {
			f, err := s.b.Open(todo[k-1].i)
			if err == nil && st.memory && f.Size() > portion {
				_ = f.Close()
				err = errGrown
			}
			if err != nil {
				r.source[k-1] = err
				return nil, err
			}
			return &watchedFile{File: f, err: &r.source[k-1], part: r.parts[k-1]}, nil
		},
		Events: &stagedEvents{s: s, todo: todo},
	}
}

// watchedFile notes the first error of a source, and has its part kept as it is read.
type watchedFile struct {
	rsync.File
	err  *error
	part *part
	n    int64 // bytes read
}

func (f *watchedFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	f.n += int64(n)
	f.part.read(f.n)
	if err != nil && err != io.EOF {
		f.note(err)
	}
	return n, err
}

func (f *watchedFile) Close() error {
	err := f.File.Close()
	f.note(err)
	return err
}

func (f *watchedFile) note(err error) {
	if *f.err == nil {
		*f.err = err
	}
}

// stagedEvents passes on what a session says about progress. Items were reported when the files were asked for.
type stagedEvents struct {
	s    *send
	todo []pendingFile
}

func (v *stagedEvents) Item(int, rsync.ItemFlags) {}
func (v *stagedEvents) Sending(k int) {
	if k > 0 && k <= len(v.todo) {
		v.s.ev.Sending(v.todo[k-1].i)
	}
}
func (v *stagedEvents) Sent(n int64)             { v.s.ev.Sent(n) }
func (v *stagedEvents) Deleted(string, bool)     {}
func (v *stagedEvents) Message(wire.Tag, string) {}

// stageServer serves a staging directory to one session, for so many files.
type stageServer struct {
	dir   string
	files int
	pipe  *pipe
	done  chan struct{}
	err   error
}

// dial starts the server. Closing the connection ends it.
func (v *stageServer) dial(context.Context) (io.ReadWriteCloser, error) {
	// Without DontRestrict the server would shut this process out of everything but its module.
	server, err := rsyncd.NewServer(
		[]rsyncd.Module{{Name: moduleName, Path: v.dir, Writable: true}},
		rsyncd.DontRestrict(), rsyncd.WithStderr(io.Discard), rsyncd.WithLogger(noLog{}))
	if err != nil {
		return nil, err
	}
	v.pipe, v.done = newPipe(v.files), make(chan struct{})
	go func() {
		defer close(v.done)
		end := serverEnd{v.pipe}
		v.err = server.HandleDaemonConn(context.Background(), rsyncd.NewConnection(end, end, "embedded"))
		end.leave()
	}()
	return clientEnd{v.pipe}, nil
}

// lastBreath is how long a cancelled Send waits for its server, which may be syncing a large file to disk.
const lastBreath = 500 * time.Millisecond

// wait ends the server and returns the error that it ended with. What goroutines of it are still on their way out have
// lost their connection, and with the staging directory their files: they change nothing any more.
func (v *stageServer) wait(ctx context.Context) error {
	if v.pipe == nil {
		return nil
	}
	_ = clientEnd{v.pipe}.Close()
	select {
	case <-v.done:
	case <-ctx.Done():
		timer := time.NewTimer(lastBreath)
		defer timer.Stop()
		select {
		case <-v.done:
		case <-timer.C:
			return context.Cause(ctx)
		}
	}
	if errors.Is(v.err, io.EOF) || errors.Is(v.err, io.ErrClosedPipe) || errors.Is(v.err, io.ErrUnexpectedEOF) {
		return nil // our side left first
	}
	return v.err
}

// noLog discards what the server has to say: its errors come back as errors.
type noLog struct{}

func (noLog) Printf(string, ...any)    {}
func (noLog) Output(int, string) error { return nil }

// kernel reduces an error to the kernel's words, if it comes from there: its paths are those of the staging directory.
func kernel(err error) error {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno
	}
	return err
}
