package transfer

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsynctest"
)

// manyFiles are 20 MB in 200 files in three directories.
func manyFiles(t *testing.T, src string) {
	t.Helper()
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("old/%s/%d", []string{".", "sub", "sub/deep"}[i%3], i))
	}
	noise(t, src, names, 100_000)
	write(t, filepath.Join(src, "kept/file"), "kept")
}

var movesWhileDown = map[string]func(t *testing.T, src string){
	"directory": func(t *testing.T, src string) { move(t, src, "old", "kept/new") },
	"every file": func(t *testing.T, src string) {
		if err := os.MkdirAll(filepath.Join(src, "new"), 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			move(t, src, fmt.Sprintf("old/%s/%d", []string{".", "sub", "sub/deep"}[i%3], i), fmt.Sprint("new/", i))
		}
		if err := os.RemoveAll(filepath.Join(src, "old")); err != nil {
			t.Fatal(err)
		}
	},
	"within a directory": func(t *testing.T, src string) {
		for i := 2; i < 200; i += 3 {
			move(t, src, fmt.Sprint("old/sub/deep/", i), fmt.Sprint("old/sub/deep/new", i))
		}
	},
}

// What was moved while nobody looked costs no data, and is recorded.
func TestMovesWhileDown(t *testing.T) {
	for name, change := range movesWhileDown {
		for _, mode := range []string{"full", "live"} {
			t.Run(name+" "+mode, func(t *testing.T) {
				t.Parallel()
				src, state := t.TempDir(), t.TempDir()
				manyFiles(t, src)
				url, dst, _ := daemon(t, rsynctest.Config{})
				old(t)
				remembered(t, src, url, state)
				change(t, src)
				var sent int64
				if mode == "full" {
					s, _ := remembered(t, src, url, state)
					sent = s.Sent
				} else {
					f, w := watchedFollower(t, src, url, remembering(t, state))
					f.rests(t, w)
					sent = f.Progress().Sent
					if err := f.ask(t.Context(), func() {
						if err := f.cfg.Catalogue.Close(); err != nil {
							t.Error(err)
						}
					}); err != nil {
						t.Fatal(err)
					}
				}
				if sent > 200_000 {
					t.Errorf("%d bytes sent", sent)
				}
				equal(t, src, dst)
				t.Logf("%d bytes sent", sent)
				if mode == "full" {
					old(t)
					remembered(t, src, url, state) // what was within a tick of its move
					if s, _ := remembered(t, src, url, state); s.Sent > 5000 {
						t.Errorf("it is not remembered: %d bytes sent", s.Sent)
					}
				}
			})
		}
	}
}

// What is not just what the destination has by the old name is sent.
func TestMovesThatAreSent(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, src, dst string){
		"changed with the same size and time": func(t *testing.T, src, _ string) {
			p := filepath.Join(src, "old/a")
			st, err := os.Stat(p)
			if err != nil {
				t.Fatal(err)
			}
			write(t, p, "CONTENT")
			if err := os.Chtimes(p, time.Time{}, st.ModTime()); err != nil {
				t.Fatal(err)
			}
			move(t, src, "old", "new")
		},
		"not there": func(t *testing.T, src, dst string) {
			os.Remove(filepath.Join(dst, "old/a"))
			move(t, src, "old", "new")
		},
		"taken by another": func(t *testing.T, src, _ string) {
			move(t, src, "old/a", "old/b")
			write(t, filepath.Join(src, "old/a"), "another")
		},
		"a file instead of the directory": func(t *testing.T, src, _ string) {
			move(t, src, "old", "new")
			write(t, filepath.Join(src, "old"), "a file")
		},
		"changed there": func(t *testing.T, src, dst string) {
			write(t, filepath.Join(dst, "old/a"), "drifted")
			move(t, src, "old", "new")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, state := t.TempDir(), t.TempDir()
			write(t, filepath.Join(src, "old/a"), "content")
			for i := range 50 {
				write(t, filepath.Join(src, "others", fmt.Sprint(i)), "x")
			}
			url, dst, _ := daemon(t, rsynctest.Config{})
			old(t)
			remembered(t, src, url, state)
			change(t, src, dst)
			remembered(t, src, url, state)
			equal(t, src, dst)
		})
	}
}
