package hosts

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
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

// need ends the test where hosts cannot run.
func need(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("boots hosts; not with -short")
	}
	if os.Geteuid() != 0 {
		lacking(t, "hosts need root")
	}
	for _, n := range namespaces {
		if err := try(n.flag); err != nil {
			// Nothing that could be installed would help.
			t.Skipf("the kernel refuses a %s namespace (%v): in a container, run it with --privileged", n.name, err)
		}
	}
	if os.Getenv("CI") == "true" {
		return // run installs what is missing
	}
	for command, pkg := range map[string]string{
		"apt-get": "a Debian machine", "mmdebstrap": "mmdebstrap", "ip": "iproute2", "unshare": "util-linux", "flock": "util-linux",
	} {
		if _, err := exec.LookPath(command); err != nil {
			t.Skipf("hosts need %s: no %s here", pkg, command)
		}
	}
}

// try runs a process in a namespace of its own.
func try(flag uintptr) error {
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flag}
	return cmd.Run()
}

// lacking ends the test because this machine lacks something that it could have.
func lacking(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(fmt.Sprint(what, " (fails with CI=true)"))
}
