package config

import (
	"time"

	"github.com/syncd/syncd/watcher"
)

// watching are the flags that say how changes are noticed.
func (f *flags) watching() {
	f.value("watch", "", func(v string) error {
		switch v {
		case "auto":
			f.c.Watch = watcher.Auto
		case string(watcher.Inotify), string(watcher.Scan):
			f.c.Watch = watcher.Mode(v)
		case "fanotify":
			return &UsageError{Reason: "not available in this version", Remedy: "leave it out; changes are watched by inotify"}
		default:
			return &UsageError{Reason: "nothing is called so that could watch", Remedy: "give auto, inotify or scan"}
		}
		return nil
	})
	f.on(&f.c.RaiseWatchLimit, "raise-watch-limit", "")
	f.number("scan-interval", 1, 365*86400, "seconds", func(n int) { f.c.ScanInterval = time.Duration(n) * time.Second })
}
