package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/packnback/packnback/protocol/transport/linktest"
)

// TestCopyOverSSH copies through a real sshd, both ways, over a slow link: what
// may be read is copied from, what may be written only is not copied to, and the
// waiting doesn't grow with the number of snapshots and files.
func TestCopyOverSSH(t *testing.T) {
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
	ssh := func(key string) []string {
		return []string{"--ssh-command", strings.Join(through(w.sshd, key, cable), " "), "--remote-command", w.program}
	}
	turns := func(args ...string) int {
		cable.Reset()
		w.must(t, "admin", args...)
		return cable.Reset().Turns
	}
	far := "ssh://127.0.0.1" + filepath.Join(w.dir, "store", "replica")
	near := filepath.Join(w.dir, "near")

	// The reader's key is pinned to web1, and to this repository.
	list := turns(append(ssh("reader"), "-r", "ssh://127.0.0.1", "snapshots", "--json")...)
	got := turns(append(ssh("reader"), "-r", near, "copy", "--from-repo", "ssh://127.0.0.1")...)
	t.Logf("%d turns to list, %d to copy from there", list, got)
	if got > list+25 {
		t.Errorf("a copy of two snapshots from afar waited for %d round trips, a list for %d", got, list)
	}
	w.must(t, "admin", "-r", near, "check", "--read-data")
	w.must(t, "admin", "-r", near, "-k", w.file("admin", "restore.key"), "restore", "latest", "-t", w.file("admin", "out"))
	if _, err := os.Stat(filepath.Join(w.file("admin", "out"), w.file("web1", "tree"))); err != nil {
		t.Error(err)
	}

	// Many snapshots with something new each go the other way.
	for i := range 20 {
		dir := w.file("web1", fmt.Sprintf("tree/many/%d/%d/%d", i/5, i%5, i))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "f"), fmt.Append(nil, "file ", i), 0o600); err != nil {
			t.Fatal(err)
		}
		w.backup(t, "web1")
	}
	got = turns(append(ssh("admin"), "-r", w.repo, "copy", "--to", far)...)
	t.Logf("%d turns to copy 23 snapshots to there", got)
	if got > list+2*23+60 { // two for each commit, and those down the tree for each group of snapshots
		t.Errorf("a copy of 23 snapshots waited for %d round trips, a list for %d", got, list)
	}
	got = turns(append(ssh("admin"), "-r", w.repo, "copy", "--to", far)...)
	if got > list+8 {
		t.Errorf("a copy of nothing waited for %d round trips, a list for %d", got, list)
	}
	w.must(t, "store", "-r", filepath.Join(w.dir, "store", "replica"), "check", "--read-data")
	w.must(t, "admin", "-r", filepath.Join(w.dir, "store", "replica"), "-k", w.file("admin", "restore.key"), "verify", "--all")

	// The sender's own connection is no way to a replica, nor from one.
	for _, args := range [][]string{{"-r", near, "copy", "--to", "ssh://127.0.0.1"}, {"-r", near, "copy", "--from-repo", "ssh://127.0.0.1"}} {
		_, stderr, status := w.run(t, "web1", append(ssh("web1"), args...)...)
		if status != statusRefused || !strings.Contains(stderr, "write-only") {
			t.Errorf("%v: status %d, want %d\n%s", args, status, statusRefused, stderr)
		}
	}
}
