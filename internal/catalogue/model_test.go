package catalogue

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// model is what a store is to hold, done in the plainest way.
type model struct {
	records  map[string]Record
	complete map[string]bool
}

func newModel() *model { return &model{map[string]Record{}, map[string]bool{}} }

func under(path, dir string) bool { return dir == "." || strings.HasPrefix(path, dir+"/") }

func (m *model) forgetBelow(path string) {
	maps.DeleteFunc(m.records, func(p string, _ Record) bool { return under(p, path) })
	maps.DeleteFunc(m.complete, func(p string, _ bool) bool { return p == path || under(p, path) })
}

func (m *model) apply(c Change) {
	r, exists := m.records[c.path]
	switch c.op {
	case opDoubt:
		m.records[c.path] = Record{Version: r.Version}
	case opPut:
		if r.Version.isDir() && !c.record.Version.isDir() {
			m.forgetBelow(c.path)
		}
		m.records[c.path] = c.record
	case opVerified:
		proven := exists && r.State != Doubt && r.Version == c.record.Version
		if proven && (r.State == Known || c.record.Verified*1e9-r.Version.Ctime >= 2e9) {
			v := c.record
			v.State = Known
			m.records[c.path] = v
		}
	case opComplete:
		if c.on {
			m.complete[c.path] = true
		} else {
			delete(m.complete, c.path)
		}
	case opForget:
		m.forgetBelow(c.path)
		delete(m.records, c.path)
	case opMoved:
		m.forgetBelow(c.to)
		delete(m.records, c.to)
		for p, r := range maps.Clone(m.records) {
			if under(p, c.path) {
				m.records[c.to+p[len(c.path):]] = r
			}
		}
		for p := range maps.Clone(m.complete) {
			if p == c.path || under(p, c.path) {
				m.complete[c.to+p[len(c.path):]] = true
			}
		}
		m.records[c.to] = r
		m.forgetBelow(c.path)
		delete(m.records, c.path)
	}
}

// crash is what a machine that stops does.
func (m *model) crash() {
	clear(m.complete)
	for p, r := range m.records {
		m.records[p] = Record{Version: r.Version}
	}
}

func (m *model) counts() (c Counts) {
	for _, r := range m.records {
		if r.State != Doubt && r.Version.Mode&unix.S_IFMT == unix.S_IFREG {
			c.Files++
			c.Bytes += r.Version.Size
			if r.Verified != 0 {
				c.ProvenFiles++
				c.ProvenBytes += r.Version.Size
			}
		}
	}
	return c
}

// oddNames sort in byte order differently from paths, or need to be escaped.
var oddNames = []string{"a", "b", "a-b", "a b", "a\x01", "a\x02", "a\x01b", "\x01", "\x02\x02", "a\x03", "ü", "\xff", "."}

func randomPath(rnd *rand.Rand) string {
	parts := make([]string, 1+rnd.IntN(3))
	for i := range parts {
		parts[i] = oddNames[rnd.IntN(len(oddNames)-1)]
	}
	return strings.Join(parts, "/")
}

func randomVersion(rnd *rand.Rand) Version {
	return Version{
		Size: rnd.Int64N(1e9), Mtime: rnd.Int64N(4) * 1e9, Ctime: 1e9 * (1 + rnd.Int64N(5)), Ino: 1 + rnd.Uint64N(20),
		Mode: []uint32{unix.S_IFREG | 0o644, unix.S_IFREG | 0o600, unix.S_IFDIR | 0o755, unix.S_IFLNK | 0o777}[rnd.IntN(4)],
		UID:  rnd.Uint32N(3), GID: rnd.Uint32N(1 << 17),
	}
}

// randomChange often is about what is there.
func randomChange(rnd *rand.Rand, m *model) Change {
	path := randomPath(rnd)
	if known := slices.Sorted(maps.Keys(m.records)); len(known) > 0 && rnd.IntN(3) > 0 {
		path = known[rnd.IntN(len(known))]
	}
	if rnd.IntN(20) == 0 {
		path = "."
	}
	switch n := rnd.IntN(100); {
	case n < 20:
		return MarkDoubt(path)
	case n < 60:
		return Put(path, randomVersion(rnd), rnd.IntN(3) == 0)
	case n < 75:
		v := m.records[path].Version
		if rnd.IntN(8) == 0 {
			v.Mtime++
		}
		return Verified(path, v, 1+rnd.Int64N(8), [16]byte{byte(n), byte(rnd.IntN(2) * n)}, XXH64)
	case n < 85:
		return Complete(path, n < 83)
	case n < 92:
		if path == "." && rnd.IntN(4) > 0 {
			path = "a"
		}
		return Forget(path)
	default:
		to := randomPath(rnd)
		c := Moved(path, to)
		if c.check() != nil {
			return MarkDoubt(path)
		}
		return c
	}
}

// checkModel compares all that a store can tell with the model.
func checkModel(t *testing.T, s *Store, m *model) {
	t.Helper()
	dirs := map[string][]Record{".": nil}
	inodes := map[uint64][]string{}
	var unproven, known []string
	for p, r := range m.records {
		got, found, err := s.Get(p)
		r.Name = p[strings.LastIndexByte(p, '/')+1:]
		if err != nil || !found || got != r {
			t.Fatalf("Get(%q): %+v, %v, %v; want %+v", p, got, found, err, r)
		}
		if r.Version.Ino != 0 {
			inodes[r.Version.Ino] = append(inodes[r.Version.Ino], p)
		}
		if r.State != Doubt && r.Version.isRegular() && r.Verified < 4 {
			unproven = append(unproven, p)
		}
		if r.State != Doubt && r.Version.isDir() {
			known = append(known, p)
		}
		if p == "." {
			continue
		}
		dir := "."
		if i := strings.LastIndexByte(p, '/'); i >= 0 {
			dir = p[:i]
		}
		dirs[dir] = append(dirs[dir], r)
	}
	for dir := range m.complete {
		dirs[dir] = append(dirs[dir], nil...)
	}
	for range 2 {
		for dir, want := range dirs {
			slices.SortFunc(want, func(a, b Record) int { return strings.Compare(a.Name, b.Name) })
			got, complete, err := s.Dir(dir)
			if err != nil || complete != m.complete[dir] || !slices.Equal(got, want) {
				t.Fatalf("Dir(%q): complete %v, %v, want %v\n%s", dir, complete, err, m.complete[dir], cmp.Diff(want, got))
			}
		}
	}
	for ino := range uint64(22) {
		got, err := s.Paths(ino)
		want := inodes[ino]
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("Paths(%d): %q, %v; want %q", ino, got, err, want)
		}
	}
	if got, want := s.Counts(), m.counts(); got != want {
		t.Fatalf("Counts: %+v, want %+v", got, want)
	}
	var got []string
	for after, first := "", true; first || after != ""; first = false {
		paths, next, err := s.Unproven(t.Context(), after, 4, 3)
		if err != nil || len(paths) > 3 {
			t.Fatalf("Unproven(%q): %q, %v", after, paths, err)
		}
		got, after = append(got, paths...), next
	}
	slices.Sort(got)
	slices.Sort(unproven)
	if !slices.Equal(got, unproven) {
		t.Fatalf("a round of Unproven: %q, want %q", got, unproven)
	}
	got = nil
	for after, first := "", true; first || after != ""; first = false {
		paths, next, err := s.Dirs(t.Context(), after, 2)
		if err != nil || len(paths) > 2 {
			t.Fatalf("Dirs(%q): %q, %v", after, paths, err)
		}
		got, after = append(got, paths...), next
	}
	slices.Sort(got)
	slices.Sort(known)
	if !slices.Equal(got, known) {
		t.Fatalf("a round of Dirs: %q, want %q", got, known)
	}
}

// kill leaves the files as a kill of the process would.
func kill(s *Store) {
	s.fs.frozen.Store(true)
	err := fmt.Errorf("killed")
	s.failure.Store(&err)
	_ = s.Close()
}

func TestStoreHoldsWhatAModelHolds(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			m := newModel()
			dir := tempDir(t)
			boot := 0
			o := Options{}
			if seed%2 == 0 {
				o.limits = limits{deletes: 1, entries: 1, moved: 2} // so that a few records are many
			}
			open := func() *Store {
				o.bootID = fmt.Sprint(boot)
				s, _, err := Open(dir, Identity{{"seed", fmt.Sprint(seed)}}, o)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			s := open()
			defer func() { s.Close() }()
			for range 120 {
				switch rnd.IntN(16) {
				case 0:
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					boot += rnd.IntN(2) // after a clean end, it does not matter
					s = open()
				case 1:
					kill(s)
					if rnd.IntN(3) == 0 {
						boot++
						m.crash()
					}
					s = open()
				case 2:
					// Tables and not only the log.
					if err := s.db.Flush(); err != nil {
						t.Fatal(err)
					}
				default:
					changes := make([]Change, rnd.IntN(8))
					for i := range changes {
						changes[i] = randomChange(rnd, m)
						m.apply(changes[i])
					}
					if err := s.Apply(changes...); err != nil {
						t.Fatal(err)
					}
				}
				checkModel(t, s, m)
			}
		})
	}
}
