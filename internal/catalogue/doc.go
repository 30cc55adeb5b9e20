// Package catalogue remembers, across restarts, what the destination is known to hold (design.md 7). It is a Pebble
// store in a directory of its own.
//
// # What a record says
//
// Each path has at most one record: Doubt, Racy or Known. In a directory marked complete, every name that may exist at
// the destination has a record, so that what has none is not there. Whoever sends to the destination writes Doubt for
// the names before it sends them, and Put after the acknowledgement. Losing a Put costs a re-check. Losing a Doubt would
// cost correctness: the name could exist at the destination, unknown to a complete directory.
//
// # What survives
//
//   - Death of the process, kill -9 included: everything for which Apply returned, and of an Apply that was under way all
//     or nothing. The log is handed to the kernel before Apply returns; it is not waited for the disk.
//   - Crash of the machine: the log reaches the disk about once a second, so the last second may be gone. What is found
//     is not trusted: unless the store was closed cleanly, another boot id begins a new epoch, in which every record
//     reads as Doubt and no directory as complete. That costs one small write, whatever the size of the store.
//   - Failure of the store (disk full, input/output error, checksum error): the first error freezes the files as a kill
//     would, every method returns it from then on, and the next Open begins afresh, because what the caller did without
//     the store is not in it.
//
// # Layout on disk
//
// The directory given to Open holds "lock" (the holder's pid), "intact" (removed when the store fails) and "db", the
// Pebble store. Its keys are:
//
//	m                    meta: format, identity, boot id, clean mark, epoch (JSON)
//	n                    counters, written with each batch that changes them
//	p DIR 00             mark of a complete directory: its epoch
//	p DIR 00 NAME        record; the root's own is p 00 "."
//	i INODE DIR 00 NAME  index by inode (8 bytes, big endian), no value
//
// In DIR, the slash is written as 01, and the bytes 01 and 02 are preceded by 02. So the children of a directory lie side
// by side, a subtree is one range, and the order of the keys is that of a depth-first walk in byte order.
package catalogue
