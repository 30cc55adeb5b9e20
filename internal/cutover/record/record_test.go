package record

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncd/syncd/internal/cutover"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report")
	r := &cutover.Report{
		Outcome: cutover.Running, Source: "/srv", Destination: "h::m", Version: "v1", Begin: time.Now().UTC(),
	}
	for _, outcome := range []cutover.Outcome{cutover.Running, cutover.Succeeded} {
		r.Outcome = outcome
		if err := Write(path, r); err != nil {
			t.Fatal(err)
		}
		var got cutover.Report
		data, err := os.ReadFile(path + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, &got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		var text strings.Builder
		if err := r.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != text.String() {
			t.Errorf("%v\n%s", err, data)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What cannot be written leaves what was there, and nothing else.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, new(cutover.Report)); err == nil {
		t.Error("a directory became a report")
	}
	if err := Write(filepath.Join(dir, "none", "report"), new(cutover.Report)); err == nil {
		t.Error("a directory came into being")
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*report*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestMark(t *testing.T) {
	m := NewMark(t.TempDir(), Frozen)
	if err := m.Clear(); err != nil {
		t.Error(err)
	}
	for _, thaw := range []string{"systemctl start 'a b'\n", ""} {
		if _, ok, err := m.Find(); ok || err != nil {
			t.Errorf("a mark before there is one: %v", err)
		}
		if err := m.Set(thaw); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := m.Find(); got != thaw || !ok || err != nil {
			t.Errorf("found %q, %v, %v", got, ok, err)
		}
		if err := m.Clear(); err != nil {
			t.Fatal(err)
		}
	}
	none := NewMark("", Frozen)
	if err := none.Set("x"); err != nil {
		t.Error(err)
	}
	if _, ok, err := none.Find(); ok || err != nil {
		t.Errorf("found in no directory: %v", err)
	}
	if err := none.Clear(); err != nil {
		t.Error(err)
	}
	if err := NewMark("/no/such", Frozen).Set("x"); err == nil {
		t.Error("set where it cannot be")
	}
}
