package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packnback/packnback/protocol/transport/linktest"
	"github.com/packnback/packnback/protocol/transport/sshdtest"
)

// TestRoundTrips counts what crosses a slow link after the login: backups must
// not wait for answers, whatever the number of files.
func TestRoundTrips(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for a slow link")
	}
	w := newWorld(t)
	w.sshd.Authorize(t, w.sshd.Key(t, "admin"))
	cable, err := linktest.New(fmt.Sprintf("127.0.0.1:%d", w.sshd.Port), 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer cable.Close()
	for i := range 3000 {
		dir := w.file("web1", fmt.Sprintf("tree/many/%d", i/100))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), fmt.Append(nil, "file ", i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	login := func() linktest.Count {
		_, stderr, status := w.exec(t, "web1", append(through(w.sshd, "admin", cable), "-T", "--", "127.0.0.1", "true")...)
		if status != 0 {
			t.Fatalf("ssh true: %s", stderr)
		}
		return cable.Reset()
	}
	// Messages that cross or meet each other in the proxy are counted as a turn more
	// or less, so what has little to spare is measured several times.
	middle := func(times int, measure func() linktest.Count) linktest.Count {
		counts := make([]linktest.Count, times)
		for i := range counts {
			counts[i] = measure()
		}
		slices.SortFunc(counts, func(a, b linktest.Count) int { return a.Turns - b.Turns })
		return counts[times/2]
	}
	bare := middle(5, login)
	remote := func(key string) []string {
		return []string{"-r", "ssh://127.0.0.1" + w.repo, "--ssh-command", strings.Join(through(w.sshd, key, cable), " "), "--remote-command", w.program}
	}
	backup := append(remote("web1"), "backup", "-q", "-k", w.file("web1", "send.key"), w.file("web1", "tree"))
	for _, c := range []struct {
		what    string
		machine string
		args    []string
		times   int   // that it is measured, of which the middle one counts
		turns   int   // at most, beyond the login
		bytes   int64 // likewise, both ways; 0: any
	}{
		{"first backup", "web1", backup, 1, 40, 0},
		{"unchanged backup", "web1", backup, 1, 6, 64 << 10},
		{"unchanged backup", "web1", backup, 1, 6, 64 << 10},
		{"snapshots", "admin", append(remote("admin"), "snapshots"), 5, 3, 64 << 10},
	} {
		cable.Reset()
		got := middle(c.times, func() linktest.Count {
			w.must(t, c.machine, c.args...)
			return cable.Reset()
		})
		turns, bytes := got.Turns-bare.Turns, got.Up+got.Down-bare.Up-bare.Down
		t.Logf("%s: %d turns and %d bytes beyond those of the login (%d and %d)", c.what, turns, bytes, bare.Turns, bare.Up+bare.Down)
		if turns > c.turns {
			t.Errorf("%s: waited for %d round trips after the login, want at most %d", c.what, turns, c.turns)
		}
		if c.bytes > 0 && bytes > c.bytes {
			t.Errorf("%s: %d bytes on the wire, want at most %d", c.what, bytes, c.bytes)
		}
	}
}

// through is s.SSH(key) by way of a cable.
func through(s *sshdtest.Server, key string, cable *linktest.Proxy) []string {
	words := slices.Clone(s.SSH(key))
	words[slices.Index(words, "-p")+1] = fmt.Sprint(cable.Port())
	return append(words, "-o", fmt.Sprintf("HostKeyAlias=[127.0.0.1]:%d", s.Port))
}
