package watcher

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/scan"
)

// A LimitError says that the kernel grants no more watches, how many are needed, and how to have them.
type LimitError struct {
	Needed int    // watches that the tree needs, for this process
	Have   int    // watches that this process got
	Sysctl string // the setting, as sysctl(8) names it
	Limit  int    // its value, 0 if unknown
	Value  int    // what to set it to: with what others of the same user hold, and some room to grow
}

// Error names the line to run.
func (e *LimitError) Error() string {
	return fmt.Sprintf("no more inotify watches: the tree has %d directories, the limit %s=%d gave room for %d: run sysctl -w %s=%d",
		e.Needed, e.Sysctl, e.Limit, e.Have, e.Sysctl, e.Value)
}

// Relieved reports whether the setting is higher by now.
func (e *LimitError) Relieved() bool {
	_, limit := watchLimit()
	return limit > e.Limit
}

// Raise makes the setting Value, for which the process must be root. Nothing remembers it when the machine is started
// again.
func (e *LimitError) Raise() error {
	if e.Value <= e.Limit || e.Value > math.MaxInt32 {
		return fmt.Errorf("%s=%d: it is %d, which should be enough", e.Sysctl, e.Value, e.Limit)
	}
	// Not to be truncated: a setting cannot be made by two writes.
	f, err := os.OpenFile(settingPath(e.Sysctl), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.Itoa(e.Value))
	return errors.Join(err, f.Close())
}

// Unwrap returns ENOSPC, which is what the kernel said.
func (e *LimitError) Unwrap() error { return unix.ENOSPC }

func instanceError(err error) error {
	if errors.Is(err, unix.EMFILE) {
		return fmt.Errorf("no more inotify instances: raise sysctl fs.inotify.max_user_instances=%d, or the limit of open files: %w",
			sysctl("fs.inotify.max_user_instances"), err)
	}
	return fmt.Errorf("inotify: %w", err)
}

// sysctl reads a number; 0 if it cannot be read.
func sysctl(name string) int {
	text, err := os.ReadFile(settingPath(name))
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

func settingPath(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

// watchLimit returns the setting that binds: inside a user namespace there is one of its own.
func watchLimit() (name string, value int) {
	const host, namespace = "fs.inotify.max_user_watches", "user.max_inotify_watches"
	a, b := sysctl(host), sysctl(namespace)
	if b > 0 && b < a {
		return namespace, b
	}
	return host, a
}

func (w *Watcher) isCounting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counting
}

// startCounting goes on without watches, only to say how many are needed.
func (w *Watcher) startCounting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counting = true
}

// countOnly counts a directory and finds those below it.
func (w *Watcher) countOnly(t task, dir *scan.Dir) {
	w.mu.Lock()
	w.counted++
	w.mu.Unlock()
	_ = w.list(t, dir) // what cannot be listed is not counted
}

func (w *Watcher) limitReached() error {
	name, limit := watchLimit()
	have := len(w.wds)
	e := &LimitError{Needed: have + w.counted, Have: have, Sysctl: name, Limit: limit}
	others := max(limit-have, 0)
	const room = 8 // an eighth more
	e.Value = e.Needed + others
	e.Value += e.Value / room
	return e
}
