// Package notify is a service's side of systemd: what it tells the service
// manager (sd_notify(3)), the proof that it is alive, and a log that suits the
// journal. Outside of a unit all of it does nothing or writes plain text.
//
// The unit has to be Type=notify. The order of a service's life:
//
//	n := notify.New()
//	n.Status("starting")          // as often as wanted
//	n.Ready()                     // once it does its work
//	n.Reloading(); ...; n.Ready() // around what SIGHUP causes
//	n.Stopping()                  // first thing when it is told to end
//
// and beside it Watchdog.Run, fed by Watchdog.Alive from the loop that does the work.
// The log of a service that may lose its peer for days:
//
//	log := slog.New(notify.Limit(notify.Logger(os.Stderr, level).Handler(), "target"))
package notify
