package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Scripts depend on the keys: this test changes only by additions.
func TestStatusJSON(t *testing.T) {
	s := busy()
	s.At = noon
	s.derive(noon)
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "status.json")
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("-%s +got:\n%s", golden, diff)
	}
	var back Status
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, back); diff != "" {
		t.Errorf("-encoded +decoded:\n%s", diff)
	}
}

// docs/status.md names every key of the status and of the answer for a path.
func TestDocumented(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "status.md"))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	var collect func(reflect.Type)
	collect = func(v reflect.Type) {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Slice {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct || v == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			key, _, _ := strings.Cut(v.Field(i).Tag.Get("json"), ",")
			keys = append(keys, key)
			collect(v.Field(i).Type)
		}
	}
	collect(reflect.TypeFor[Status]())
	collect(reflect.TypeFor[Why]())
	if len(keys) < 50 {
		t.Fatalf("only %d keys", len(keys))
	}
	for _, key := range keys {
		// Some have the one they are in before them, or [] behind.
		if !regexp.MustCompile("[`.]" + key + "(\\[\\])?[`.]").Match(doc) {
			t.Errorf("no %q in docs/status.md", key)
		}
	}
}

// Text that is no UTF-8 is escaped, not lost, and what the handler gave stays as it was.
func TestTextThatIsNoUTF8(t *testing.T) {
	pass := &Pass{At: "a\xff"}
	s := Status{
		Source: "s\xff", Destination: "d\xff", Reason: "r\xff", Pass: pass,
		Failing: Failing{First: []Failure{{Reason: "f\xff"}}},
	}
	s.derive(noon)
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range "sdrfa" {
		if want := `"` + string(c) + `\\#377"`; !strings.Contains(string(got), want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if pass.At != "a\xff" {
		t.Error("the handler's value was changed")
	}
}

// What does not apply is null, [] or missing, and never a time of the year 1.
func TestEmptyStatusJSON(t *testing.T) {
	s := Status{At: noon, Since: noon, Started: noon}
	s.derive(noon)
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"lanes":[]`, `"first":[]`, `"in_sync_lag_seconds":null`, `"oldest_age_seconds":0`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if strings.Contains(string(got), "0001-01-01") {
		t.Errorf("a time that is none: %s", got)
	}
}

// A clock that was set back makes no negative ages.
func TestAgesAreNotNegative(t *testing.T) {
	s := Status{At: noon, InSyncUpTo: noon.Add(1), Backlog: Backlog{Oldest: noon.Add(1)}}
	s.derive(noon)
	if *s.InSyncLag != 0 || s.Backlog.OldestAge != 0 {
		t.Errorf("%v, %v", *s.InSyncLag, s.Backlog.OldestAge)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, r := range []Request{
		{Do: DoStatus}, {Do: DoSet, Key: "a", Value: "b\xff"}, {Do: DoWhy, Path: "\xff\x00"}, {Do: DoWhy, Path: `\#377`},
	} {
		line, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte(`{"do":"why","path":"a","path_bytes":""}`))
	f.Add([]byte(`{"do":"why","path_bytes":"!"}`))
	f.Add([]byte(`{"do":"why","pathBytes":{"path_bytes":"YQ=="},"plain":null}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := decodeRequest(p)
		if err != nil {
			return
		}
		if r.check() != nil {
			t.Fatalf("%q was let in: %+v", p, r)
		}
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("%q: %v", p, err)
		}
		if again, err := decodeRequest(line); err != nil || again != r {
			t.Fatalf("%q is %+v, and encoded and decoded %+v, %v", p, r, again, err)
		}
	})
}

// Whatever a client sends, it gets one line of JSON or nothing.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"do":"status"}` + "\n"))
	f.Add([]byte(`{"do":"why","path":"a"}`))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		line, err := readRequest(bytes.NewReader(p))
		if err != nil {
			if errors.Is(err, errTooLong) != (len(p) >= maxRequest) {
				t.Fatalf("%d bytes: %v", len(p), err)
			}
			return
		}
		if len(line) >= maxRequest {
			t.Fatalf("a request of %d bytes", len(line))
		}
		r, err := decodeRequest(line)
		if err != nil {
			return
		}
		out, err := answer(steady(), r).line()
		if err != nil {
			t.Fatal(err)
		}
		_, err = decodeAnswer("", out)
		var refused *Refused
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("%q is answered by %q: %v", p, out, err)
		}
	})
}

// A client takes whatever a socket says.
func FuzzDecodeAnswer(f *testing.F) {
	f.Add([]byte(`{"syncd":1,"status":{"failing":{"first":[{"path":"a","path_bytes":"/w=="}]}}}` + "\n"))
	f.Add([]byte(`{"syncd":1,"why":null,"error":"x"}` + "\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		a, err := decodeAnswer("/x", p)
		if err != nil {
			return
		}
		var b strings.Builder
		if a.Status != nil {
			a.Status.WriteText(&b, noon)
		}
		if a.Why != nil {
			a.Why.WriteText(&b, noon)
		}
		if strings.ContainsAny(b.String(), "\x1b\x00\r\x7f") {
			t.Fatalf("%q makes a text with control characters: %q", p, b.String())
		}
	})
}
