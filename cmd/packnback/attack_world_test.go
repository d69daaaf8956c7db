package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/protocol/transport/sshdtest"
	"github.com/packnback/packnback/repo/object"
)

// world is a store behind a real sshd, with two machines that back up to it.
// web1 has been taken over: the attacks have its send key, its SSH key and its
// cache. web2 has not.
type world struct {
	dir     string
	program string // the program under test, by its whole path
	sshd    *sshdtest.Server
	repo    string
	web1    *crypto.SendKey
	before  map[string][sha256.Size]byte // what the repository held, by file
	known   []string                     // ids of the snapshots in it, oldest first
	logins  map[string]*ssh.Client       // for wire, by key
	secret  object.ID                    // an object of web1's first snapshot that its head doesn't reach
	kept    object.ID                    // one that it does
	foreign object.ID                    // an object of web2's
	victim  object.ID                    // another one
}

// attack is one thing that a hostile sender tries.
type attack struct {
	name string
	try  func(t *testing.T, w *world)
}

// TestAttack runs every attack of a hostile sender through a real sshd. After
// each of them everything that was in the repository is still there byte for
// byte, the other machine can back up, and the store can check and prune.
// packnback-security(7) has the table of them.
func TestAttack(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts some hundred processes")
	}
	w := newWorld(t)
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			t.Cleanup(func() { w.gone(t) }) // after the attack's connections were closed
			a.try(t, w)
			w.unharmed(t) // while they are still open
		})
	}
	w.restores(t)
}

func attacks() []attack {
	return slices.Concat(sshAttacks, pathAttacks, frameAttacks, readAttacks, commitAttacks, floodAttacks)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	program, err := exec.LookPath("packnback") // put there by TestMain
	if err != nil {
		t.Fatal(err)
	}
	w := &world{dir: t.TempDir(), program: program, sshd: sshdtest.Start(t), logins: make(map[string]*ssh.Client)}
	t.Cleanup(func() {
		for _, c := range w.logins {
			c.Close()
		}
	})
	w.repo = filepath.Join(w.dir, "store", "repo")
	w.must(t, "store", "init", "-r", w.repo)
	w.must(t, "store", "init", "-r", filepath.Join(w.dir, "store", "other"))
	w.must(t, "admin", "key", "generate", "-o", w.file("admin", "restore.key"))
	for _, name := range []string{"web1", "web2"} {
		w.must(t, name, "key", "send", "--to", w.file("admin", "restore.key.pub"), "--client", name, "-o", w.file(name, "send.key"))
		w.authorize(t, name, "--write-only", "--client", name, "--job", "default", "--quota", "2G")
		w.tree(t, name)
	}
	w.authorize(t, "reader", "--read-only", "--client", "web1")
	w.authorize(t, "blind", "--write-only", "--blind", "--client", "web1")
	text, err := os.ReadFile(w.file("web1", "send.key"))
	if err != nil {
		t.Fatal(err)
	}
	if w.web1, err = crypto.ParseSendKey(text); err != nil {
		t.Fatal(err)
	}
	w.backup(t, "web1")
	if err := os.Remove(w.file("web1", "tree/secret")); err != nil {
		t.Fatal(err)
	}
	w.backup(t, "web1")
	w.backup(t, "web2")
	w.must(t, "store", "prune", "-r", w.repo) // makes what the head reaches exact
	w.remember(t)
	return w
}

// file returns a name in the folder of one machine, which is also its HOME.
func (w *world) file(machine, name string) string { return filepath.Join(w.dir, machine, name) }

// tree makes what a machine backs up: a file large enough for an object of its
// own that later is deleted, and some small ones.
func (w *world) tree(t *testing.T, machine string) {
	t.Helper()
	if err := os.MkdirAll(w.file(machine, "tree/sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"tree/secret": 1 << 20, "tree/kept": 1 << 20, "tree/a": 100, "tree/sub/b": 5000} {
		noise := make([]byte, 0, size)
		for i := 0; len(noise) < size; i++ {
			sum := sha256.Sum256(fmt.Append(nil, machine, name, i))
			noise = append(noise, sum[:]...)
		}
		if err := os.WriteFile(w.file(machine, name), noise[:size], 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// run runs the program as a user of one machine.
func (w *world) run(t *testing.T, machine string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return w.exec(t, machine, append([]string{w.program}, args...)...)
}

// exec runs any program as a user of one machine. It ends it after a minute.
func (w *world) exec(t *testing.T, machine string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	home := w.file(machine, "")
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "USER=nobody"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%q: %v", args, err)
	}
	if ctx.Err() != nil {
		t.Errorf("%q did not end within a minute", args)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must is run for what has to work.
func (w *world) must(t *testing.T, machine string, args ...string) string {
	t.Helper()
	stdout, stderr, status := w.run(t, machine, args...)
	if status != 0 {
		t.Fatalf("packnback %s on %s: status %d\n%s", strings.Join(args, " "), machine, status, stderr)
	}
	return stdout
}

// authorize makes an SSH key and installs the line that authorize prints.
func (w *world) authorize(t *testing.T, name string, rights ...string) {
	t.Helper()
	w.sshd.Key(t, name)
	args := append([]string{"authorize", "-r", w.repo}, rights...)
	w.sshd.Authorize(t, strings.TrimSpace(w.must(t, "store", append(args, filepath.Join(w.sshd.Dir, name+".pub"))...)))
}

// force installs a line with a command of the test's own choosing.
func (w *world) force(t *testing.T, name, command string) {
	t.Helper()
	w.sshd.Authorize(t, fmt.Sprintf(`restrict,command="%s" %s`, command, w.sshd.Key(t, name)))
}

// remote returns the flags that reach the store with an SSH key.
func (w *world) remote(key string) []string {
	return []string{"-r", fmt.Sprintf("ssh://%s@127.0.0.1", w.sshd.User), "--ssh-command", strings.Join(w.sshd.SSH(key), " ")}
}

func (w *world) backup(t *testing.T, machine string) {
	t.Helper()
	w.must(t, machine, append(w.remote(machine), "backup", "-q", "-k", w.file(machine, "send.key"), w.file(machine, "tree"))...)
}

// snapshots returns the ids of all snapshots with their clients, oldest first.
func (w *world) snapshots(t *testing.T) (ids, clients []string) {
	t.Helper()
	var list []struct{ ID, Client string }
	if err := json.Unmarshal([]byte(w.must(t, "store", "snapshots", "--json", "-r", w.repo)), &list); err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		ids, clients = append(ids, s.ID), append(clients, s.Client)
	}
	return ids, clients
}

// remember notes what the repository holds, for unharmed.
func (w *world) remember(t *testing.T) {
	t.Helper()
	w.before = w.hashes(t)
	w.known, _ = w.snapshots(t)
	conn := w.connect(t, "reader")
	content := func(snapshot string) (ids []object.ID) {
		id, err := object.ParseID(snapshot)
		if err != nil {
			t.Fatal(err)
		}
		s, err := w.admin(t).Snapshot(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		err = conn.Push(t.Context(), s.Manifest.Root, func(r *object.Record) error { ids = append(ids, r.Refs...); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	now := content(w.known[1])
	for _, id := range content(w.known[0]) {
		if !slices.Contains(now, id) {
			w.secret = id
		}
	}
	w.kept = now[0]
	theirs := content(w.known[2])
	w.foreign, w.victim = theirs[0], theirs[len(theirs)-1]
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if w.secret.IsZero() || w.foreign == w.victim {
		t.Fatal("the machines' trees are too small")
	}
}

// hashes returns the hash of each file of the repository that never changes.
func (w *world) hashes(t *testing.T) map[string][sha256.Size]byte {
	t.Helper()
	all := make(map[string][sha256.Size]byte)
	for _, dir := range []string{"packs", "snapshots", "config"} {
		err := filepath.WalkDir(filepath.Join(w.repo, dir), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(name)
			all[name] = sha256.Sum256(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// unharmed checks what must hold after every attack.
func (w *world) unharmed(t *testing.T) {
	t.Helper()
	now := w.hashes(t)
	for name, sum := range w.before {
		if got, ok := now[name]; !ok || got != sum {
			t.Errorf("%s is there %v, and no longer what it was", name, ok)
		}
	}
	ids, clients := w.snapshots(t)
	if len(ids) < len(w.known) || !slices.Equal(ids[:len(w.known)], w.known) {
		t.Errorf("the snapshots are %v, want %v in front", ids, w.known)
	}
	for i := len(w.known); i < len(ids); i++ {
		if clients[i] != "web1" && clients[i] != "web2" {
			t.Errorf("there is a snapshot of client %q", clients[i])
		}
	}
	w.backup(t, "web2")
	w.must(t, "store", "check", "-r", w.repo)
	w.must(t, "store", "prune", "-r", w.repo)
}

// isThere wants the store to have an object.
func (w *world) isThere(t *testing.T, id object.ID) {
	t.Helper()
	n := 0
	err := w.admin(t).Fetch(t.Context(), []object.ID{id}, func(*object.Record) error { n++; return nil })
	if err != nil || n != 1 {
		t.Fatalf("object %s is not in the store (%v), so that nothing can be tried with it", id.Short(), err)
	}
}

// gone waits until no server is left that an attack has started: none outlives
// its connection.
func (w *world) gone(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		left := w.servers()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("servers outlive their connections: %v", left)
			return
		}
		time.Sleep(10 * time.Millisecond) // for processes of sshd, which tell nobody
	}
}

// servers returns the process ids of the servers of this world.
func (w *world) servers() (pids []string) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		line, _ := os.ReadFile(name)
		words := strings.Split(string(line), "\x00")
		if len(words) > 2 && words[0] == w.program && words[1] == "serve" {
			pids = append(pids, filepath.Base(filepath.Dir(name)))
		}
	}
	return pids
}

var anonymous = regexp.MustCompile(`RssAnon:\s+(\d+) kB`)

// memory returns the anonymous memory of the largest server, in bytes.
func (w *world) memory(t *testing.T) (most int) {
	t.Helper()
	for _, pid := range w.servers() {
		text, _ := os.ReadFile("/proc/" + pid + "/status")
		if m := anonymous.FindSubmatch(text); m != nil {
			var kb int
			fmt.Sscan(string(m[1]), &kb)
			most = max(most, kb<<10)
		}
	}
	return most
}

// restores checks that what was backed up before all attacks comes back.
func (w *world) restores(t *testing.T) {
	t.Helper()
	for i, machine := range map[int]string{1: "web1", 2: "web2"} {
		target := w.file("admin", "out-"+machine)
		w.must(t, "admin", "restore", "-q", "-r", w.repo, "-k", w.file("admin", "restore.key"), w.known[i], "-t", target)
		diff, _, status := w.exec(t, "admin", "diff", "-r", w.file(machine, "tree"), filepath.Join(target, w.file(machine, "tree")))
		if status != 0 {
			t.Errorf("what %s had backed up comes back different:\n%s", machine, diff)
		}
	}
}
