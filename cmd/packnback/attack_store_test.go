package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// deceit is one lie, told to one command.
type deceit struct {
	name, lie string
	command   string // backup, restore, verify, snapshots, ls
	status    []int  // any of them
	whole     bool   // all the same, what comes back later is whole
}

var deceits = []deceit{
	{"honest-backup", "none", "backup", []int{0}, true},
	{"honest-restore", "none", "restore", []int{0}, true},
	{"holds-everything", "holds-everything", "backup", []int{0, 1}, true},
	{"holds-nothing", "holds-nothing", "backup", []int{0}, true},
	{"durable-too-soon", "durable-too-soon", "backup", []int{1, 14}, false},
	{"other-repository", "other-repository", "backup", []int{1, 14}, false},
	{"other-receipt", "other-receipt", "backup", []int{1, 14}, true},
	{"head-of-another", "head-of-another", "backup", []int{1, 11, 14}, false},
	{"head-rewound", "head-rewound", "backup", []int{1, 11, 14}, false},
	{"future-version", "future-version", "backup", []int{1}, false},
	{"swapped-objects", "swapped-objects", "restore", []int{1, 3, 14}, false},
	{"changed-content", "changed-content", "restore", []int{1, 3, 14}, false},
	{"changed-directory", "changed-directory", "restore", []int{1, 3, 14}, false},
	{"changed-key", "changed-key", "restore", []int{1, 3, 12, 14}, false},
	{"cut-refs", "cut-refs", "restore", []int{1, 3, 14}, false},
	{"objects-held-back", "objects-held-back", "restore", []int{1, 3, 14}, false},
	{"objects-missing", "objects-missing", "restore", []int{1, 3, 14}, false},
	{"object-twice", "object-twice", "restore", []int{1, 3, 14}, false},
	{"endless-directories", "endless-directories", "restore", []int{1, 3, 14}, false},
	{"endless-snapshots", "endless-snapshots", "snapshots", []int{14}, false},
	{"endless-listing", "endless-directories", "ls", []int{1, 3, 14}, false},
	{"hangs-up", "hangs-up", "restore", []int{1, 3}, false},
	{"forged-snapshot", "snapshot-forged", "restore", []int{1, 3, 14}, false},
	{"other-root", "snapshot-with-other-root", "restore", []int{1, 3, 14}, false},
	{"forged-snapshot-verified", "snapshot-forged", "verify", []int{1, 14}, false},
	{"newest-withheld", "newest-withheld", "verify", []int{14}, false},
	{"middle-withheld", "middle-withheld", "verify", []int{14}, false},
	{"escape-sequences", "escape-sequences", "snapshots", []int{14}, false},
	{"escape-sequences-restore", "escape-sequences", "restore", []int{1, 3, 14}, false},
}

// TestHostileStore lets an honest sender and an honest restorer meet a store
// that lies. They must notice, or what comes back must be whole; and never may
// a file be restored with other contents than it had.
func TestHostileStore(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts many processes")
	}
	for _, d := range deceits {
		t.Run(d.name, func(t *testing.T) {
			w := newVictim(t)
			w.meets(t, d)
		})
	}
}

// victim is a machine whose store turns hostile after three backups.
type victim struct {
	*world
	liar string // the liar, by its whole path
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	w := &victim{world: &world{dir: t.TempDir()}}
	for name, at := range map[string]*string{"packnback": &w.program, "hostile": &w.liar} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		*at = path
	}
	w.repo = filepath.Join(w.dir, "repo")
	w.must(t, "store", "init", "-r", w.repo)
	w.must(t, "admin", "key", "generate", "-o", w.file("admin", "restore.key"))
	w.must(t, "web1", "key", "send", "--to", w.file("admin", "restore.key.pub"), "--client", "web1", "-o", w.file("web1", "send.key"))
	w.tree(t, "web1")
	for i := range 3 {
		if err := os.WriteFile(w.file("web1", "tree/changed"), bytes.Repeat([]byte{byte('a' + i)}, 700_000), 0o600); err != nil {
			t.Fatal(err)
		}
		w.must(t, "web1", append(w.through("none"), w.args("backup")...)...)
	}
	w.must(t, "admin", append(w.through("none"), w.args("verify")...)...) // so that the restorer remembers
	return w
}

// through returns the flags that reach the store through the liar.
func (w *victim) through(lie string) []string {
	return []string{"-r", "store:", "--ssh-command", fmt.Sprintf("'%s' %s '%s'", w.liar, lie, w.repo)}
}

// args returns the rest of a command.
func (w *victim) args(command string) []string {
	key := w.file("admin", "restore.key")
	switch command {
	case "backup":
		return []string{"backup", "-q", "-k", w.file("web1", "send.key"), w.file("web1", "tree")}
	case "restore":
		return []string{"restore", "-q", "-k", key, "latest", "-t", w.file("admin", "out")}
	case "verify":
		return []string{"verify", "-q", "--all", "-k", key}
	case "ls":
		return []string{"ls", "latest", "-k", key}
	}
	return []string{command, "-k", key}
}

func (w *victim) meets(t *testing.T, d deceit) {
	t.Helper()
	machine := "admin"
	if d.command == "backup" {
		machine = "web1"
		if err := os.WriteFile(w.file("web1", "tree/new"), bytes.Repeat([]byte("new"), 300_000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stdout, stderr, status := w.run(t, machine, append(w.through(d.lie), w.args(d.command)...)...)
	if !slices.Contains(d.status, status) {
		t.Errorf("status %d, want one of %d\n%s%s", status, d.status, stdout, stderr)
	}
	if strings.ContainsAny(stdout+stderr, "\x1b\a\r") {
		t.Errorf("the store's escape sequences reached the terminal: %q", stdout+stderr)
	}
	if status != 0 && !strings.Contains(stderr, "packnback: error: ") {
		t.Errorf("no clear line about what is wrong: %q", stderr)
	}
	if d.command == "restore" {
		w.nothingFalse(t, status == 0)
	}
	if d.whole {
		target := w.file("admin", "later")
		w.must(t, "web1", append(w.through("none"), w.args("backup")...)...)
		w.must(t, "admin", "restore", "-q", "-r", w.repo, "-k", w.file("admin", "restore.key"), "latest", "-t", target)
		if diff, _, status := w.exec(t, "admin", "diff", "-r", w.file("web1", "tree"), filepath.Join(target, w.file("web1", "tree"))); status != 0 {
			t.Errorf("what comes back later is not whole:\n%s", diff)
		}
	}
}

// nothingFalse wants every file that was restored to be what it was, and with
// all also every file to be there.
func (w *victim) nothingFalse(t *testing.T, all bool) {
	t.Helper()
	out := filepath.Join(w.file("admin", "out"), w.file("web1", "tree"))
	for _, name := range []string{"a", "sub/b", "kept", "secret", "changed"} {
		want, err := os.ReadFile(filepath.Join(w.file("web1", "tree"), name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(out, name))
		switch {
		case errors.Is(err, os.ErrNotExist) && !all:
		case err != nil:
			t.Error(err)
		case !bytes.Equal(got, want):
			t.Errorf("%s was restored with other contents", name)
		}
	}
}

// TestStoreThatForgets lets a store say yes to a commit and drop it, or the
// contents under it. The sender notices at its next backup, the restorer when
// it verifies.
func TestStoreThatForgets(t *testing.T) {
	w := newVictim(t)
	if err := os.WriteFile(w.file("web1", "tree/new"), bytes.Repeat([]byte("new"), 300_000), 0o600); err != nil {
		t.Fatal(err)
	}
	w.must(t, "web1", append(w.through("swallows-commit"), w.args("backup")...)...)
	_, stderr, status := w.run(t, "web1", append(w.through("none"), w.args("backup")...)...)
	if status == 0 || !strings.Contains(stderr, "packnback: error: ") {
		t.Errorf("a backup to a store that has dropped the one before: status %d, want a refusal with a reason\n%s", status, stderr)
	}

	w = newVictim(t)
	if err := os.WriteFile(w.file("web1", "tree/new"), bytes.Repeat([]byte("new"), 300_000), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run(t, "web1", append(w.through("swallows-content"), w.args("backup")...)...)
	_, stderr, status = w.run(t, "web1", append(w.through("none"), w.args("backup")...)...)
	if status == 0 {
		w.must(t, "admin", append(w.through("none"), w.args("verify")...)...)
		w.must(t, "admin", append(w.through("none"), w.args("restore")...)...)
		w.nothingFalse(t, true)
	} else if !strings.Contains(stderr, "packnback: error: ") {
		t.Errorf("status %d and no reason\n%s", status, stderr)
	}
}

// TestRolledBackRepository puts an older copy of the repository in its place.
func TestRolledBackRepository(t *testing.T) {
	w := newVictim(t)
	old := filepath.Join(w.dir, "old")
	if _, stderr, status := w.exec(t, "store", "cp", "-a", w.repo, old); status != 0 {
		t.Fatal(stderr)
	}
	w.must(t, "web1", append(w.through("none"), w.args("backup")...)...)
	w.must(t, "admin", append(w.through("none"), w.args("verify")...)...)
	if err := errors.Join(os.RemoveAll(w.repo), os.Rename(old, w.repo)); err != nil {
		t.Fatal(err)
	}
	if _, stderr, status := w.run(t, "web1", append(w.through("none"), w.args("backup")...)...); status == 0 {
		t.Errorf("the sender did not notice\n%s", stderr)
	}
	if stdout, stderr, status := w.run(t, "admin", append(w.through("none"), w.args("verify")...)...); status != statusDamage {
		t.Errorf("verify: status %d, want %d\n%s%s", status, statusDamage, stdout, stderr)
	}
}
