package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// The network breaks, once or again and again: what has arrived is not sent again.
func TestResumeAfterBrokenNetwork(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ssh   bool
		at    int64
		flags string
		make  func(c *cut)
	}{
		{name: "early", at: 2 << 20},
		{name: "late", at: 11 << 20},
		{name: "every 5 MiB", at: 5 << 20},
		{name: "ssh", ssh: true},
		{name: "compressed", flags: "-z"},
		{name: "whole files", flags: "-W"},
		{name: "sparse", flags: "-S"},
		{name: "in place", flags: "--inplace"},
		{name: "appending", flags: "--append-verify"},
		{name: "temporary directory", flags: "--temp-dir=/"},
		{name: "own directory", flags: "--partial-dir=.part"},
		{name: "any size", flags: "--partial-dir=.part --big-file=1T"},
		{name: "links", flags: "-H", make: func(c *cut) {
			c.options.Ignore &^= treetest.HardLinks
			must(c.t, os.Mkdir(filepath.Join(c.src, "other"), 0o755))
			must(c.t, os.Link(c.big(), filepath.Join(c.src, "other", "name")))
		}},
		{name: "links, one limit of deletions", flags: "-H --max-delete=10", make: func(c *cut) {
			must(c.t, os.Link(c.big(), filepath.Join(c.src, "name")))
		}},
		{name: "protocol 29", flags: "--protocol=29", make: func(c *cut) {
			c.options.Ignore |= treetest.Nanosecond | treetest.DirMtime | treetest.FileMtime
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCut(t, tt.ssh, strings.Fields(tt.flags)...)
			if tt.make != nil {
				tt.make(c)
			}
			if tt.at == 0 {
				tt.at = cutAt
			}
			c.relay.Set(rsynctest.Faults{CutUp: tt.at})
			cmd := c.start()
			if !strings.HasPrefix(tt.name, "every ") { // once
				must(t, await(func() error {
					if up, _ := c.relay.Bytes(); up < tt.at {
						return fmt.Errorf("%d bytes sent", up)
					}
					return nil
				}, nil))
				c.relay.Set(rsynctest.Faults{})
			}
			c.ends(cmd)
			c.clean()
			c.sent(bigFile)
		})
	}
}

// syncd is killed, or told to end, and started again.
func TestResumeAfterEndOfSyncd(t *testing.T) {
	for _, tt := range []struct {
		name  string
		sig   syscall.Signal
		ssh   bool
		flags string
	}{
		{name: "killed", sig: syscall.SIGKILL},
		{name: "told", sig: syscall.SIGTERM},
		{name: "killed, ssh", sig: syscall.SIGKILL, ssh: true},
		{name: "told, ssh", sig: syscall.SIGTERM, ssh: true},
		{name: "killed, catalogue", sig: syscall.SIGKILL, flags: "--state-dir="},
		{name: "killed, own directory", sig: syscall.SIGKILL, flags: "--partial-dir=" + ownDir},
		{name: "killed, in place", sig: syscall.SIGKILL, flags: "--inplace"},
		{name: "killed, links", sig: syscall.SIGKILL, flags: "-H"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if strings.HasSuffix(tt.flags, "=") {
				tt.flags += t.TempDir()
			}
			c := newCut(t, tt.ssh, strings.Fields(tt.flags)...)
			must(t, os.Link(c.big(), filepath.Join(c.src, "link")))
			if tt.flags == "-H" {
				c.options.Ignore &^= treetest.HardLinks
			} else {
				must(t, os.Remove(filepath.Join(c.src, "link")))
			}
			c.stopped(tt.sig)
			c.run()
			c.clean()
			c.sent(bigFile)
		})
	}
}

// The source is not what it was when syncd comes back. Nothing of what arrived before is left.
func TestResumeOfWhatChanged(t *testing.T) {
	changes := map[string]func(c *cut){
		"content": func(c *cut) {
			f, err := os.OpenFile(c.big(), os.O_WRONLY, 0)
			must(c.t, err)
			_, err = f.WriteAt([]byte("changed here"), 3<<20)
			must(c.t, err)
			must(c.t, f.Close())
		},
		"shorter, not small": func(c *cut) { must(c.t, os.Truncate(c.big(), 5<<20)) },
		"shorter":            func(c *cut) { must(c.t, os.Truncate(c.big(), cutAt-1<<20)) },
		"no more large":      func(c *cut) { must(c.t, os.Truncate(c.big(), 1<<20)) },
		"empty":              func(c *cut) { must(c.t, os.Truncate(c.big(), 0)) },
		"gone":               func(c *cut) { must(c.t, os.Remove(c.big())) },
		"directory gone":     func(c *cut) { must(c.t, os.RemoveAll(filepath.Dir(c.big()))) },
		"directory renamed":  func(c *cut) { must(c.t, os.Rename(filepath.Dir(c.big()), filepath.Join(c.src, "e"))) },
		"directory a file": func(c *cut) {
			must(c.t, os.RemoveAll(filepath.Dir(c.big())))
			must(c.t, os.WriteFile(filepath.Dir(c.big()), nil, 0o644))
		},
		"symlink": func(c *cut) { must(c.t, os.Remove(c.big())); must(c.t, os.Symlink("small", c.big())) },
		"directory": func(c *cut) {
			must(c.t, os.Remove(c.big()))
			must(c.t, os.Mkdir(c.big(), 0o755))
			must(c.t, os.WriteFile(filepath.Join(c.big(), "x"), nil, 0o644))
		},
		"renamed": func(c *cut) { must(c.t, os.Rename(c.big(), filepath.Join(filepath.Dir(c.big()), "other"))) },
	}
	for name, change := range changes {
		for _, flags := range []string{"", "--state-dir="} {
			if flags != "" && !slices.Contains([]string{"no more large", "gone", "directory gone", "symlink", "renamed"}, name) {
				continue // as without
			}
			t.Run(name+" "+flags, func(t *testing.T) {
				if strings.HasSuffix(flags, "=") {
					flags += t.TempDir()
				}
				c := newCut(t, false, strings.Fields(flags)...)
				if flags != "" { // it knows the destination by then
					must(t, os.Rename(c.big(), c.src+".big"))
					c.run()
					must(t, os.Rename(c.src+".big", c.big()))
				}
				c.stopped(syscall.SIGKILL)
				change(c)
				c.run()
				c.clean()
			})
		}
	}
}

// The server is killed, or ends as when its host goes down in order, and comes back.
func TestResumeAfterEndOfServer(t *testing.T) {
	for name, end := range map[string]func(*rsynctest.Server) error{"killed": (*rsynctest.Server).Kill, "told": (*rsynctest.Server).Stop} {
		for _, flags := range []string{"", "--state-dir="} {
			t.Run(name+" "+flags, func(t *testing.T) {
				if strings.HasSuffix(flags, "=") {
					flags += t.TempDir()
				}
				c := newCut(t, false, strings.Fields(flags)...)
				c.relay.Set(rsynctest.Faults{HoldUp: cutAt, Connections: 0})
				cmd := c.start()
				c.held()
				must(t, end(c.daemon))
				c.relay.Set(rsynctest.Faults{})
				c.relay.Go()
				must(t, c.daemon.Restart())
				c.ends(cmd)
				c.clean()
				c.sent(bigFile)
			})
		}
	}
}

// The embedded destination has parts, too.
func TestResumeEmbedded(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "told": syscall.SIGTERM} {
		for _, flags := range []string{"", "-W --inplace -H"} {
			t.Run(name+" "+flags, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				c := &cut{t: t, src: filepath.Join(dir, "src"), dst: filepath.Join(dir, "dst"), options: plain}
				c.write(bigFile)
				c.args = append([]string{"--full", "-a", "--delete", cutBig}, strings.Fields(flags)...)
				c.args = append(c.args, c.src, c.dst)
				var last int64
				for _, until := range []int64{3 << 20, 6 << 20} {
					c.args = append(c.args, "--bwlimit=2M")
					cmd := c.start()
					must(t, await(func() error {
						if at := partSize(t, c.dst); at < until {
							return fmt.Errorf("%d bytes kept", at)
						}
						return nil
					}, nil))
					must(t, cmd.Process.Signal(sig))
					if err := cmd.Wait(); err == nil {
						t.Fatal("syncd ended well: too fast")
					}
					c.args = c.args[:len(c.args)-1]
					last = partSize(t, c.dst)
				}
				sum := lastSummary(t, syncd(t, 0, append(slices.Clone(c.args), "--json")...))
				if want := bigFile - last; sum.Literal > want+again {
					t.Errorf("%d MiB were sent, want little more than %d", sum.Literal>>20, want>>20)
				}
				c.clean()
			})
		}
	}
}

// Nobody is told of parts: neither the comparison nor whoever copies a destination on.
func TestPartsAreHidden(t *testing.T) {
	c := newCut(t, false, "--include=*/")
	c.stopped(syscall.SIGKILL)
	if partSize(t, c.dst) < cutAt/2 {
		t.Fatalf("no part: %q", litter(t, c.dst))
	}
	if out := syncd(t, 4, append([]string{"--verify"}, c.args[1:]...)...); strings.Contains(out, partialDir) {
		t.Errorf("the comparison names it:\n%s", out)
	}
	third := filepath.Join(t.TempDir(), "third")
	syncd(t, 0, "--full", "-a", c.dst, third)
	if left := litter(t, third); len(left) > 0 {
		t.Errorf("copied on: %q", left)
	}
	c.run()
	c.clean()
}

// A service goes on by itself, and what is small does not wait meanwhile. What its server left is gone in the end.
func TestResumeLive(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(c *cut)
		sent int64
		add  []string
	}{
		{"cut", func(c *cut) { c.relay.Cut() }, bigFile, nil},
		{"cut, gone", func(c *cut) { must(c.t, os.Remove(c.big())); c.relay.Cut() }, cutAt, nil},
		{"cut, no more large", func(c *cut) { must(c.t, os.Truncate(c.big(), 1<<20)); c.relay.Cut() }, bigFile, nil},
		{"cut, directory gone", func(c *cut) { must(c.t, os.RemoveAll(filepath.Dir(c.big()))); c.relay.Cut() }, cutAt, nil},
		{"server killed", func(c *cut) {
			must(c.t, c.daemon.Kill())
			must(c.t, c.daemon.Restart())
			c.relay.Go()
		}, 2 * bigFile, nil},
		{"limit of deletions", func(c *cut) { must(c.t, os.Remove(c.big())); c.relay.Cut() }, cutAt, []string{"--max-delete=10/1h"}},
	} {
		for _, state := range []bool{false, true} {
			if state && tt.add != nil {
				continue // as without
			}
			t.Run(fmt.Sprint(tt.name, " ", state), func(t *testing.T) {
				c := newCut(t, false)
				must(t, os.Rename(c.big(), c.src+".big"))
				flags := append([]string{cutBig}, tt.add...)
				if state {
					flags = append(slices.Clone(flags), "--state-dir="+t.TempDir())
				}
				s := follow(t, c.src, c.dst, c.relay.URL("m/dst"), flags...)
				s.converged()
				before, _ := c.relay.Bytes()
				c.relay.Set(rsynctest.Faults{HoldUp: cutAt})
				must(t, os.Rename(c.src+".big", c.big()))
				c.held()
				c.relay.Set(rsynctest.Faults{})
				must(t, os.WriteFile(filepath.Join(c.src, "d", "small"), []byte("changed"), 0o644))
				s.await("a small file goes on", func() error {
					b, err := os.ReadFile(filepath.Join(c.dst, "d", "small"))
					if err == nil && string(b) != "changed" {
						err = fmt.Errorf("%q", b)
					}
					return err
				})
				tt.end(c)
				s.await("nothing is left", func() error {
					if left := litter(t, c.dst); len(left) > 0 {
						return fmt.Errorf("left: %q", left)
					}
					return nil
				})
				s.converged()
				if up, _ := c.relay.Bytes(); up-before > tt.sent+again {
					t.Errorf("%d MiB were sent, want little more than %d", (up-before)>>20, tt.sent>>20)
				}
				if left := litter(t, c.dst); len(left) > 0 {
					t.Errorf("left in the end: %q", left)
				}
			})
		}
	}
}
