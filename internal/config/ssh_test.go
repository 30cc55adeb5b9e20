package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSSH(t *testing.T) {
	env := map[string]string{"RUNTIME_DIRECTORY": "/run/syncd/a:/run/b", "XDG_RUNTIME_DIR": "/run/user/0"}
	for _, c := range []struct {
		args         []string
		batch, share bool
	}{
		{[]string{"-a"}, true, true},
		{[]string{"-a", "--no-ssh-share"}, true, false},
		{[]string{"-a", "--full"}, false, true},
		{[]string{"-a", "--verify"}, false, true},
		{[]string{"-a", "--cutover", "--rehearse"}, true, true},
	} {
		got, err := Parse(append(c.args, "/src", "host:/dst"), func(k string) string { return env[k] }, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Batch != c.batch || got.ShareLogins != c.share {
			t.Errorf("%q: batch %v, share %v", c.args, got.Batch, got.ShareLogins)
		}
		if diff := cmp.Diff([]string{"/run/syncd/a", "/run/user/0"}, got.RuntimeDirs); diff != "" {
			t.Error(diff)
		}
	}
	if got, err := Parse([]string{"-a", "/src", "host:/dst"}, noEnv, nil); err != nil || len(got.RuntimeDirs) > 0 {
		t.Errorf("%v, %v", got, err)
	}
}
