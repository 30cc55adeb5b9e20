//go:build race

package delta

// raceEnabled: the race detector makes sync.Pool drop what it is given now and then.
const raceEnabled = true
