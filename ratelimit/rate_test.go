package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsynctest"
)

func TestParseRate(t *testing.T) {
	const kib = 1024
	for s, want := range map[string]int64{
		"0": 0, "0.0": 0, "0k": 0, ".0": 0, "00": 0, "0MB": 0,
		"1": kib, "4096": 4096 * kib, "00010": 10 * kib, "1.5": 2 * kib, "1.4999": kib, ".5": kib, "5.": 5 * kib, "2.5": 3 * kib,
		"1k": kib, "1K": kib, "1KiB": kib, "1kib": kib, "8m": 8 << 20, "1.5m": 1536 * kib, "1.5MiB": 1536 * kib, "1.k": kib,
		"2g": 2 << 30, "1T": 1 << 40, "1p": 1 << 50, "8191p": 8191 << 50,
		"1kb": kib, "1.5MB": 1465 * kib, "10mb": 9766 * kib, "1GB": 976563 * kib, "1tb": 976562500 * kib,
		"512b": kib, "1000b": kib, "1535b": kib, "1536B": 2 * kib, "1000bib": kib, "1000bb": kib, "1000.9b": kib,
		"1k+1": kib, "1k-1": kib, "1.5+1": 2 * kib, "1535b+1": 2 * kib, "1536b-1": kib, "511b+1": kib, "0.5k+1": kib,
	} {
		if got, err := ParseRate(s); err != nil || got != want {
			t.Errorf("ParseRate(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", ".", "k", ".k", " 1", "1 ", "1,5", "1.5.5", "1..2", "x", "1x", "1kk", "1ki", "1M2", "1M+2", "1k+01", "1k+", "10-", "-1", "+1",
		"0x10", "1e3", "1/2", "1_000", "0b11", "0.4", "100b", "511b", "512b-1", "0+1", "0-1", "1b-1", "0.0001", "8192p", "8192p-1",
		"99999999999999999999", "9007199254740992", "\x00", "١", strings.Repeat("1", 1<<20), "0." + strings.Repeat("0", 1<<20) + "k",
	} {
		if got, err := ParseRate(s); err == nil {
			t.Errorf("ParseRate(%.50q) = %d; want an error", s, got)
		}
	}
}

// TestParseRateLikeRsync compares with what the real rsync tells its server.
func TestParseRateLikeRsync(t *testing.T) {
	program := rsynctest.Rsync(t)
	dir := t.TempDir()
	shell := filepath.Join(dir, "shell")
	script := "#!/bin/sh\nfor a; do case $a in --bwlimit=*) echo \"<${a#--bwlimit=}>\" >&2 ;; esac; done\n"
	if err := os.WriteFile(shell, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		s := randomRate(random)
		out, _ := exec.Command(program, "--bwlimit="+s, "-e", shell, dir+"/", "host:dir").CombinedOutput()
		var want int64
		invalid := strings.Contains(string(out), "--bwlimit="+s+" is ")
		if _, after, found := strings.Cut(string(out), "<"); found {
			number, _, _ := strings.Cut(after, ">")
			n, err := strconv.ParseInt(number, 10, 64)
			if err != nil {
				t.Fatalf("rsync says %q", out)
			}
			want = n * 1024
		}
		got, err := ParseRate(s)
		if invalid != (err != nil) || got != want {
			t.Errorf("ParseRate(%q) = %d, %v; rsync: %d\n%s", s, got, err, want, out)
		}
	}
}

// randomRate is mostly a good rate, of a size that rsync can tell its server.
func randomRate(random *rand.Rand) string {
	number := strconv.Itoa(random.IntN(2000))
	switch random.IntN(3) {
	case 0:
		number += fmt.Sprintf(".%d", random.IntN(1000))
	case 1:
		number += "."
	}
	units := []string{"", "b", "B", "k", "K", "kb", "KiB", "m", "M", "MB", "Mib", "g", "Gb", "GIB", "x", "ki", "kbb"}
	offsets := []string{"", "", "", "+1", "-1", "+2"}
	return number + units[random.IntN(len(units))] + offsets[random.IntN(len(offsets))]
}

func FuzzParseRate(f *testing.F) {
	f.Add("1.5mb-1")
	f.Add("8191p+1")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseRate(s)
		if err == nil && (got < 0 || got%1024 != 0) || err != nil && got != 0 {
			t.Errorf("ParseRate(%q) = %d, %v", s, got, err)
		}
	})
}
