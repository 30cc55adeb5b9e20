// Command writer is an application that writes into a directory, a hundred times a
// second, until it is told to end: files that are made, appended to, replaced,
// renamed and removed. The file "count" holds how often; it only grows, so that a
// change that is lost on the way to another host is seen there.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: writer DIR")
		os.Exit(2)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			if err := write(os.Args[1]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
}

// write makes one change, going on from the last one, whoever made that.
func write(dir string) error {
	counter := filepath.Join(dir, "count")
	old, err := os.ReadFile(counter)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(old)))
	n++
	sub := filepath.Join(dir, fmt.Sprintf("dir%02d", n%37))
	if err := os.MkdirAll(sub, 0o750); err != nil {
		return err
	}
	if err := change(sub, n); err != nil {
		return err
	}
	next := filepath.Join(dir, ".count.new")
	if err := os.WriteFile(next, fmt.Appendln(nil, n), 0o640); err != nil {
		return err
	}
	return os.Rename(next, counter)
}

func change(dir string, n int) error {
	name := filepath.Join(dir, fmt.Sprintf("file%03d", n/37%101))
	text := []byte(strings.Repeat(fmt.Sprintln("line", n), 1+n%50))
	switch n % 5 {
	case 0:
		if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	case 1:
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.Write(text)
		return err
	case 2:
		if err := os.Rename(name, name+".old"); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return os.WriteFile(name, text, 0o600)
}
