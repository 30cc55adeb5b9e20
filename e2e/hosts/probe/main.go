// Probe behaves towards systemd as syncd does and does nothing else, so that
// syncd@.service and the hosts of the tests can be tried without a tree.
//
// Its flags are read loosely: --gate holds READY back until the file "go" is in
// the runtime directory, --usage ends it like a mistake in the command line.
// SIGUSR1 hangs the loop, SIGUSR2 makes it crash.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/syncd/syncd/systemd/notify"
)

func main() {
	log := notify.Logger(os.Stderr, slog.LevelDebug)
	log.Info("started", "args", fmt.Sprintf("%q", os.Args[1:]))
	if slices.Contains(os.Args, "--usage") {
		log.Error("mistake in the command line")
		os.Exit(2)
	}
	w, err := notify.NewWatchdog()
	if err != nil {
		log.Error("watchdog", "err", err)
		os.Exit(1)
	}
	go w.Run(context.Background())
	loop(log, notify.New(), w)
}

// loop is the loop that the watchdog watches.
func loop(log *slog.Logger, n *notify.Notifier, w *notify.Watchdog) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	n.Status("waiting at the gate")
	gate := filepath.Join(os.Getenv("RUNTIME_DIRECTORY"), "go")
	ready := false
	tick := time.NewTicker(50 * time.Millisecond)
	for {
		w.Alive()
		if !ready && open(gate) {
			ready = true
			n.Status("live, nothing waits")
			n.Ready()
			log.Log(context.Background(), slog.LevelInfo+2, "ready", "watchdog", w.Every())
		}
		select {
		case <-tick.C:
		case s := <-signals:
			switch s {
			case syscall.SIGHUP:
				n.Reloading()
				log.Warn("reloaded")
				n.Status("live, reloaded")
				n.Ready()
			case syscall.SIGUSR1:
				log.Error("the loop hangs now")
				select {}
			case syscall.SIGUSR2:
				panic("as asked for")
			case syscall.SIGTERM:
				n.Stopping()
				log.Debug("ended")
				return
			}
		}
	}
}

func open(gate string) bool {
	if !slices.Contains(os.Args, "--gate") {
		return true
	}
	_, err := os.Stat(gate)
	return err == nil
}
