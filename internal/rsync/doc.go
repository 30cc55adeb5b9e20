// Package rsync is the sending client of the rsync protocol, versions 27 to 32: it makes the destination that a stock
// rsync daemon, or an rsync behind a remote shell, serves equal to a list of entries. It knows nothing of queues, of
// files to come or of retries. A [Dialer] makes sessions; a [Session] waits, warm, before the file list until it is
// given one [Batch], and reports for each entry of it what is known.
//
// The sections named in comments are those of the protocol document of this project. Entries are sent as an explicit
// list, never recursively; what the server deletes is bounded by the directories that are listed with content.
//
// Everything that a peer sends is checked before it is used; nothing it sends makes this package panic, use memory
// without bound, or report as in place what is not.
package rsync
