package hosts

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/syncd/syncd/internal/need"
)

// namespaces are those that a host is made of.
var namespaces = []struct {
	name string
	flag uintptr
}{
	{"mount", syscall.CLONE_NEWNS},
	{"pid", syscall.CLONE_NEWPID},
	{"net", syscall.CLONE_NEWNET},
	{"uts", syscall.CLONE_NEWUTS},
	{"ipc", syscall.CLONE_NEWIPC},
	{"cgroup", syscall.CLONE_NEWCGROUP},
}

// needHosts ends the test where hosts cannot run.
func needHosts(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("boots hosts; not with -short")
	}
	need.Root(t)
	for _, n := range namespaces {
		if err := try(n.flag); err != nil {
			need.Lacking(t, "the kernel refuses a ", n.name, " namespace (", err, "): in a container, run it with --privileged")
		}
	}
	if os.Getenv("CI") == "true" {
		return // run installs what is missing
	}
	for command, pkg := range map[string]string{
		"apt-get": "a Debian machine", "mmdebstrap": "mmdebstrap", "ip": "iproute2", "unshare": "util-linux", "flock": "util-linux",
	} {
		if _, err := exec.LookPath(command); err != nil {
			need.Lacking(t, "hosts need ", pkg, ": no ", command, " here")
		}
	}
}

// try runs a process in a namespace of its own.
func try(flag uintptr) error {
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flag}
	return cmd.Run()
}
