package catalogue

import (
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// frozenFS stands between Pebble and the file system, for two reasons.
//
// Pebble either writes its log some time after the commit, from a buffer that a kill loses (NoSync), or waits for the
// disk (Sync). What we need is in between: the log in the kernel before Apply returns, on disk a second later. So commits
// are Sync, syncing a log does nothing, and syncLogs, called once a second, does it.
//
// And Pebble ends the process when it can't write its log or manifest. So the first error of a write freezes the file
// system: from then on, every change succeeds without being made. Pebble goes on in memory and notices nothing, the files
// stay as a kill would have left them, and the store, which is told, returns the error to its callers.
type frozenFS struct {
	vfs.FS
	fail   func(error) // is told of each error, and freezes
	frozen atomic.Bool

	mu      sync.Mutex
	logs    map[*logFile]struct{} // open for writing
	closing sync.WaitGroup        // logs being synced before they close
}

func newFrozenFS(fs vfs.FS, fail func(error)) *frozenFS {
	return &frozenFS{FS: fs, fail: fail, logs: make(map[*logFile]struct{})}
}

// try makes one change of the file system, unless it is frozen, and has it frozen if that fails. A file that is not there
// is no failure: Pebble expects it in some places.
func (fs *frozenFS) try(change func() error) error {
	if fs.frozen.Load() {
		return nil
	}
	err := change()
	if err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrExist) {
		return err
	}
	fs.fail(err)
	return nil
}

// create opens a file for writing; where that fails, or the file system is frozen, the file takes everything and keeps
// nothing.
func (fs *frozenFS) create(name string, open func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	err := fs.try(func() (err error) {
		file, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	if file == nil {
		return &frozenFile{fs: fs}, nil
	}
	f := &frozenFile{File: file, fs: fs}
	if !strings.HasSuffix(name, ".log") {
		return f, nil
	}
	log := &logFile{frozenFile: f}
	fs.mu.Lock()
	fs.logs[log] = struct{}{}
	fs.mu.Unlock()
	return log, nil
}

func (fs *frozenFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.create(name, func() (vfs.File, error) { return fs.FS.Create(name, category) })
}

func (fs *frozenFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.create(newname, func() (vfs.File, error) { return fs.FS.ReuseForWrite(oldname, newname, category) })
}

func (fs *frozenFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return fs.create(name, func() (vfs.File, error) { return fs.FS.OpenReadWrite(name, category, opts...) })
}

// OpenDir is wrapped for the sake of Sync.
func (fs *frozenFS) OpenDir(name string) (vfs.File, error) {
	dir, err := fs.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &frozenFile{File: dir, fs: fs}, nil
}

func (fs *frozenFS) Link(oldname, newname string) error {
	return fs.try(func() error { return fs.FS.Link(oldname, newname) })
}

func (fs *frozenFS) Remove(name string) error {
	return fs.try(func() error { return fs.FS.Remove(name) })
}

func (fs *frozenFS) RemoveAll(name string) error {
	return fs.try(func() error { return fs.FS.RemoveAll(name) })
}

func (fs *frozenFS) Rename(oldname, newname string) error {
	return fs.try(func() error { return fs.FS.Rename(oldname, newname) })
}

func (fs *frozenFS) MkdirAll(dir string, perm os.FileMode) error {
	return fs.try(func() error { return fs.FS.MkdirAll(dir, perm) })
}

func (fs *frozenFS) Unwrap() vfs.FS { return fs.FS }

// syncLogs waits until what was written to the logs is on disk.
func (fs *frozenFS) syncLogs() {
	fs.mu.Lock()
	logs := make([]*logFile, 0, len(fs.logs))
	for log := range fs.logs {
		logs = append(logs, log)
	}
	fs.mu.Unlock()
	for _, log := range logs {
		log.syncNow()
	}
	fs.closing.Wait()
}

// frozenFile is a file open for writing, or a directory open for syncing. Its File is nil if the file system was
// frozen when it was opened.
type frozenFile struct {
	vfs.File
	fs *frozenFS
}

func (f *frozenFile) try(change func() error) error {
	if f.File == nil {
		return nil
	}
	return f.fs.try(change)
}

func (f *frozenFile) Write(p []byte) (int, error) {
	// Pebble allows Write to change p; so the length is all that is kept.
	n := len(p)
	err := f.try(func() error {
		_, err := f.File.Write(p)
		return err
	})
	return n, err
}

func (f *frozenFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.try(func() error {
		_, err := f.File.WriteAt(p, off)
		return err
	})
	return len(p), err
}

// Preallocate is advice: that it can't be had is no failure.
func (f *frozenFile) Preallocate(offset, length int64) error {
	if f.File == nil || f.fs.frozen.Load() {
		return nil
	}
	return f.File.Preallocate(offset, length)
}

func (f *frozenFile) Sync() error     { return f.try(func() error { return f.File.Sync() }) }
func (f *frozenFile) SyncData() error { return f.try(func() error { return f.File.SyncData() }) }

func (f *frozenFile) SyncTo(length int64) (full bool, err error) {
	err = f.try(func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

func (f *frozenFile) Close() error {
	if f.File == nil {
		return nil
	}
	// Also where all is frozen: the descriptor is to go.
	if err := f.File.Close(); err != nil {
		f.fs.fail(err)
	}
	return nil
}

func (f *frozenFile) Read(p []byte) (int, error) {
	if f.File == nil {
		return 0, os.ErrInvalid
	}
	return f.File.Read(p)
}

func (f *frozenFile) ReadAt(p []byte, off int64) (int, error) {
	if f.File == nil {
		return 0, os.ErrInvalid
	}
	return f.File.ReadAt(p, off)
}

func (f *frozenFile) Stat() (vfs.FileInfo, error) {
	if f.File == nil {
		return nil, os.ErrInvalid
	}
	return f.File.Stat()
}

func (f *frozenFile) Prefetch(offset, length int64) error {
	if f.File == nil {
		return nil
	}
	return f.File.Prefetch(offset, length)
}

func (f *frozenFile) Fd() uintptr {
	if f.File == nil {
		return vfs.InvalidFd
	}
	return f.File.Fd()
}

// logFile is a log that is being written. Sync returns at once.
type logFile struct {
	*frozenFile
	dirty atomic.Bool
	mu    sync.Mutex // held while syncing, so that the file is not closed meanwhile
	done  bool       // closed
}

func (f *logFile) Write(p []byte) (int, error) {
	n, err := f.frozenFile.Write(p)
	f.dirty.Store(true)
	return n, err
}

// Preallocate does nothing. It would spare a sync that somebody waits for some work, and here nobody waits; but each log
// is given the space of a whole memtable, which a start with little to write does not need, twice.
func (f *logFile) Preallocate(int64, int64) error { return nil }

func (f *logFile) Sync() error     { return nil }
func (f *logFile) SyncData() error { return nil }

// syncNow waits until all that was written is on disk. Whether that fails, the file system is told.
func (f *logFile) syncNow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.done && f.dirty.Swap(false) {
		_ = f.frozenFile.SyncData()
	}
}

// Close returns at once: a commit that needs a new log waits for it. The file is closed when it is on disk.
func (f *logFile) Close() error {
	f.fs.closing.Go(func() {
		f.syncNow()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.done = true
		f.fs.mu.Lock()
		delete(f.fs.logs, f)
		f.fs.mu.Unlock()
		// The data is safe or the failure told; what close could add is nothing.
		_ = f.frozenFile.Close()
	})
	return nil
}
