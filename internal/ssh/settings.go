package ssh

import (
	"context"
	"os/exec"
	"strings"
	"time"
)

// askTime is how long ssh may take to say how it is configured.
const askTime = 5 * time.Second

// settings are what ssh would do by command line and configuration together.
type settings map[string]string

// ask returns the settings for a command. ok is false if it does not tell: it is another ssh, or too old a one.
func ask(ctx context.Context, command []string) (s settings, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	argv := With(command, "-G")
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil, false
	}
	s = settings{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, again := s[key]; !again {
			s[key] = value
		}
	}
	return s, s["hostname"] != ""
}

// shares reports whether the user's configuration shares connections already.
func (s settings) shares() bool {
	master := s["controlmaster"]
	return s["controlpath"] != "" || master != "" && master != "false" && master != "no"
}

// keepsAlive reports whether a connection notices that the other host is gone.
func (s settings) keepsAlive() bool {
	interval := s["serveraliveinterval"]
	return interval != "" && interval != "0"
}
