package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// overSSH is one command and the exit status that each kind of connection must
// give it. SNAP stands for the newest snapshot, OLD for the one before, both
// of web1; KEYS for the folder of the restorer's keys, OUT for a new
// name.
type overSSH struct {
	args                      string
	full, readOnly, writeOnly int
}

// sshCommands has every command that needs the store, in an order in which each
// finds what it needs.
var sshCommands = []overSSH{
	{"snapshots", 0, 0, statusRefused},
	{"ls --client web1 latest", 0, 0, statusRefused},
	{"find kept", 0, 0, statusRefused},
	{"diff OLD SNAP", 0, 0, statusRefused},
	{"stats", 0, 0, statusRefused},
	{"restore -q SNAP -t OUT", 0, 0, statusRefused},
	{"dump SNAP TREE/a", 0, 0, statusRefused},
	{"verify --client web1", 0, 0, statusRefused},
	{"verify", 0, statusDamage, statusRefused}, // the reader is shown web1 only, and web2 is known by now
	{"drill --client web1", 0, 0, statusRefused},
	{"check", 0, 0, statusRefused},
	{"key rewrap --to KEYS/new.key.pub -o OUT.rewrap", 0, 0, statusRefused},
	{"copy -q --to OUT.copy OLD", 0, 0, statusRefused},
	{"config list", 0, 0, statusRefused},
	{"config set grace 4d", 0, statusRefused, statusRefused},
	{"status", 0, 0, statusRefused},
	{"unforget --list", 0, 0, statusRefused},
	{"forget --keep-last 100", 0, statusRefused, statusRefused},
	{"acknowledge SNAP", statusFailed, statusRefused, statusRefused},
	{"prune", 0, statusRefused, statusRefused},
	{"prune --apply-policy", 0, statusRefused, statusRefused},
	{"repair index", 0, statusRefused, statusRefused},
	{"repair packs", 0, statusRefused, statusRefused},
	{"init", statusFailed, statusRefused, statusRefused},
	{"backup -q -k SEND TREE", 0, statusRefused, 0},
}

// TestCommandsOverSSH runs every command of packnback(1) that works on a
// repository over a real sshd: with full rights all do what they do on a disk,
// and what the mode of a connection forbids ends with status 13 and one line.
func TestCommandsOverSSH(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts some hundred processes")
	}
	w := newWorld(t)
	w.force(t, "full", w.program+" serve --repo "+w.repo)
	w.must(t, "admin", "key", "generate", "-q", "-o", w.file("admin", "new.key"))
	for _, c := range sshCommands {
		for i, mode := range []struct {
			key    string
			status int
		}{{"full", c.full}, {"reader", c.readOnly}, {"web1", c.writeOnly}} {
			t.Run(mode.key+"/"+strings.ReplaceAll(c.args, "/", "_"), func(t *testing.T) {
				out := w.file("admin", fmt.Sprintf("out-%s-%d", mode.key, i))
				args := w.words(c.args, out)
				_, stderr, status := w.run(t, "admin", append(append(w.remote(mode.key), "-k", w.file("admin", "restore.key")), args...)...)
				if status != mode.status {
					t.Fatalf("status %d, want %d\n%s", status, mode.status, stderr)
				}
				if n := strings.Count(stderr, "packnback: error: "); status != 0 && n != 1 {
					t.Errorf("%d error lines, want 1:\n%s", n, stderr)
				}
				if err := os.RemoveAll(out); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
	t.Run("drill-record", func(t *testing.T) { w.drillRecords(t) })
}

// drillRecords wants a drill to be recorded in the repository where the
// connection permits that, and on the restorer's machine in any case.
func (w *world) drillRecords(t *testing.T) {
	on := func(machine, key, want string, args ...string) {
		t.Helper()
		args = append(append(w.remote(key), "--json", "-k", w.file("admin", "restore.key"), args[0], "--client", "web1"), args[1:]...)
		stdout, stderr, status := w.run(t, machine, args...)
		if status != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%s on %s: status %d, want 0 and %s\n%s%s", args[6:], machine, status, want, stdout, stderr)
		}
	}
	name := filepath.Join(w.repo, "heads/web1/default/drilled")
	if err := os.Remove(name); err != nil {
		t.Errorf("the drill with full rights has left no record: %v", err)
	}
	on("desk", "reader", `"recorded":"here"`, "drill")
	if _, err := os.Stat(name); err == nil {
		t.Error("a read-only connection has written a record")
	}
	on("desk", "reader", `"recorded":"here"}`, "status")
	on("elsewhere", "reader", `"drill":null`, "status")
	on("desk", "full", `"recorded":"store"`, "drill")
	on("elsewhere", "reader", `"recorded":"store"}`, "status")
	on("desk", "full", `"recorded":"store"}`, "status")
}

// words splits a line of sshCommands and fills it in.
func (w *world) words(line, out string) []string {
	var args []string
	for _, word := range strings.Fields(line) {
		word = strings.NewReplacer("SNAP", w.known[1], "OLD", w.known[0], "KEYS", w.file("admin", ""), "OUT", out,
			"SEND", w.file("web1", "send.key"), "TREE", w.file("web1", "tree")).Replace(word)
		args = append(args, filepath.Clean(word))
	}
	return args
}
