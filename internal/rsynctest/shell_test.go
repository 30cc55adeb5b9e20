package rsynctest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestShell(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	shell := Shell(t)
	mustRsync(t, "-a", "-e", shell, source(t)+"/", "alice@host.invalid:some dir")
	checkCopy(t, filepath.Join(home, "some dir"))

	out, err := exec.Command(shell, "-p", "22", "-q", "-l", "alice", "host.invalid", "echo", "'a  b'", "$HOME;", "exit 7").Output()
	if want := "a  b " + home + "\n"; string(out) != want {
		t.Errorf("output %q, want %q", out, want)
	}
	if e, ok := err.(*exec.ExitError); !ok || e.ExitCode() != 7 {
		t.Errorf("exit status: %v, want 7", err)
	}
}

func TestSSHD(t *testing.T) {
	shell := SSHD(t)
	dst := t.TempDir()
	mustRsync(t, "-a", "-e", shell, source(t)+"/", "host.invalid:"+dst)
	checkCopy(t, dst)

	args := strings.Fields(shell)
	out, err := exec.Command(args[0], append(args[1:], "host.invalid", "echo $SSH_CONNECTION; exit 7")...).Output()
	if !strings.HasPrefix(string(out), "127.0.0.1 ") {
		t.Errorf("SSH_CONNECTION is %q", out)
	}
	if e, ok := err.(*exec.ExitError); !ok || e.ExitCode() != 7 {
		t.Errorf("exit status: %v, want 7", err)
	}
}

// TestSSHDEnds wants the processes of an open session to end with sshd, though sshd gives them a group of their own.
func TestSSHDEnds(t *testing.T) {
	var pid string
	t.Run("session", func(t *testing.T) {
		args := strings.Fields(SSHD(t))
		cmd := exec.Command(args[0], append(args[1:], "host.invalid", "echo $$; exec sleep 1000")...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 32)
		n, err := out.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		pid = strings.TrimSpace(string(b[:n]))
		go cmd.Wait()
	})
	cmdline, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	if err == nil && strings.HasPrefix(string(cmdline), "sleep") {
		t.Errorf("process %s still runs: %q", pid, cmdline)
	}
}
