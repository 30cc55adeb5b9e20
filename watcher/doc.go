// Package watcher follows the changes of a directory tree and reports each as an item for the queue.
//
// # What is promised
//
// For every path that changes after Ready, an item that covers it is emitted after the change. Items are about the
// entries themselves: the time of modification that a directory gets when a child comes or goes follows from the
// child's item. A directory is watched before it is listed, so that nothing made meanwhile is missed; a new or moved-in
// directory is reported as Tree when it and everything below it is watched, a change as Path, also of what has gone.
// Too much may be reported, never a change less.
//
// A directory that is renamed is dropped at its old place and found at its new one, so that no event is reported by a
// path that is out of date.
//
// When the kernel's queue overflows, reading goes on at once, all that is watched is compared with what is there, and
// Tree(".") is emitted: the kernel does not say whose events it dropped. What is mounted or unmounted below the root
// becomes Tree of the mount point. A directory that exists and cannot be watched is named by Stats, tried again every
// half minute, and reported as Tree once it can.
//
// A file that is open for writing is reported when it is closed, and after Config.MaxDelay at the latest.
//
// # Why raw inotify
//
// fsnotify (1.10) cannot keep these promises. It does not ask for IN_CLOSE_WRITE, the only event there is of a write
// through a shared mapping, and which spares a probe of each new file. It keeps IN_UNMOUNT, IN_IGNORED and IN_ISDIR to
// itself. It knows watches by path: a directory that is watched again after a rename, which for the kernel is the same
// watch, keeps its old name; removing that watch first loses what happens until it is back, and removing those of a
// large tree fills the kernel's queue with IN_IGNORED.
//
// # Limits
//
// One watch is needed for each directory; it takes about 1 KiB of kernel memory, and some 130 bytes here. Of interest
// are:
//
//	fs.inotify.max_user_watches     directories that a user may watch; [LimitError] says how many are needed
//	fs.inotify.max_user_instances   trees that a user may watch
//	fs.inotify.max_queued_events    events between two reads before the kernel drops some
//
// inotify tells by which name a file was changed. Of the other names of a hard-linked file it tells nothing, nor of
// changes made through names outside of the tree: whoever knows the names of an inode must look at all of them. It tells
// nothing of what other hosts change on a network file system, and of the renaming of a directory above the root, which
// is noticed within seconds. /proc must be mounted.
//
// The package is for Linux.
package watcher
