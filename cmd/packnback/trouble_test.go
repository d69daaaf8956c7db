package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/packnback/packnback/protocol/transport/linktest"
	"github.com/packnback/packnback/protocol/transport/sshdtest"
)

// newStore is a world with a repository, one client and no snapshots.
func newStore(t *testing.T, program string) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), program: program, sshd: sshdtest.Start(t)}
	w.repo = filepath.Join(w.dir, "store", "repo")
	w.must(t, "store", "init", "-r", w.repo)
	w.must(t, "admin", "key", "generate", "-o", w.file("admin", "restore.key"))
	w.must(t, "web1", "key", "send", "--to", w.file("admin", "restore.key.pub"), "--client", "web1", "-o", w.file("web1", "send.key"))
	w.authorize(t, "web1", "--write-only", "--client", "web1", "--quota", "2G")
	return w
}

// TestRemoteTroubles has what goes wrong between a client and its store, each
// with its own clear line, hint and status.
func TestRemoteTroubles(t *testing.T) {
	w := newStore(t, programPath(t))
	w.force(t, "noisy", "echo Welcome to the store; exec "+w.program+" serve --repo "+w.repo)
	w.force(t, "talkative", "echo mind the gap >&2; exec "+w.program+" serve --repo "+w.repo)
	w.force(t, "missing", "/nowhere/packnback serve")
	w.force(t, "silent", "exit 0")
	w.force(t, "future", `printf 'PNBwire\002'`)
	w.force(t, "failing", "echo something broke >&2; exit 7")
	w.force(t, "elsewhere", w.program+" serve --repo "+filepath.Join(w.dir, "nothing"))
	w.sshd.Key(t, "stranger")
	sshd := strings.Join(w.sshd.SSH("web1"), " ")
	for _, c := range []struct {
		name, key string
		ssh       string // instead of the key's
		repo      string // instead of the key's host
		status    int
		line      string
		hint      string
	}{
		{name: "noise", key: "noisy", status: 1, line: `does not speak packnback's protocol; it says "Welcome to the store"`, hint: ".bashrc"},
		{name: "missing program", key: "missing", status: 1, line: "there is no packnback on 127.0.0.1", hint: "--remote-command"},
		{name: "silence", key: "silent", status: 1, line: "sent nothing"},
		{name: "future version", key: "future", status: 1, line: "version 2", hint: "newest packnback"},
		{name: "failing program", key: "failing", status: 1, line: "something broke"},
		{name: "no repository", key: "elsewhere", status: 10, line: "there is no repository", hint: "packnback init"},
		{name: "refused key", key: "stranger", status: 1, line: "refuses the login", hint: "packnback authorize"},
		{name: "changed host key", ssh: sshd + " -o HostKeyAlias=changed", status: 1, line: "CHANGED", hint: fmt.Sprintf("ssh-keygen -R '[127.0.0.1]:%d'\n", w.sshd.Port)},
		{name: "unknown host key", ssh: sshd + " -o HostKeyAlias=unknown", status: 1, line: "is not known", hint: fmt.Sprintf("ssh -p %d %s@127.0.0.1\n", w.sshd.Port, w.sshd.User)},
		{name: "nobody listens", repo: "ssh://127.0.0.1:1", ssh: "ssh -F none -o BatchMode=yes", status: 1, line: "can't reach 127.0.0.1"},
		{name: "no ssh", ssh: "/nowhere/ssh", status: 1, line: "can't run ssh", hint: "builtin"},
		{name: "option as host", repo: "ssh://-oProxyCommand=touch%20x/", ssh: sshd, status: 2, line: "hyphen"},
		{name: "builtin, unknown key", ssh: "builtin", repo: fmt.Sprintf("ssh://127.0.0.1:%d", w.sshd.Port), status: 1, line: "is not known", hint: fmt.Sprintf("ssh -p %d ", w.sshd.Port)},
		{name: "write-only", key: "web1", status: 13, line: "write-only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			known := filepath.Join(w.sshd.Home(), ".ssh/known_hosts")
			if strings.HasPrefix(c.name, "changed") {
				text := "changed " + w.sshd.Key(t, "old_host") + "\n"
				f, err := os.OpenFile(known, os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if _, err := f.WriteString(text); err != nil {
					t.Fatal(err)
				}
			}
			if c.ssh == "" {
				c.ssh = strings.Join(w.sshd.SSH(c.key), " ")
			}
			if c.repo == "" {
				c.repo = "ssh://" + w.sshd.User + "@127.0.0.1"
			}
			_, stderr, status := w.run(t, "web1", "snapshots", "-r", c.repo, "--ssh-command", c.ssh)
			errors := strings.Count(stderr, "packnback: error: ") - strings.Count(stderr, "remote: packnback: error: ")
			if status != c.status || errors != 1 || !strings.Contains(stderr, c.line) || !strings.Contains(stderr, c.hint) {
				t.Errorf("status %d, want %d, one line with %q and a hint with %q; got\n%s", status, c.status, c.line, c.hint, stderr)
			}
			if strings.Contains(stderr, "goroutine ") || strings.Contains(stderr, "\n\n") {
				t.Errorf("more than clear lines: %s", stderr)
			}
		})
	}
	_, stderr, status := w.run(t, "web1", append(w.remote("talkative"), "snapshots")...)
	if status != 0 || !strings.Contains(stderr, "remote: mind the gap\n") {
		t.Errorf("status %d, want 0 and what the far side said; got\n%s", status, stderr)
	}
}

func programPath(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("packnback") // put there by TestMain
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCutUpload pulls the cable out in the middle of a first backup. The same
// run goes on by itself, and sends again at most what one checkpoint has.
func TestCutUpload(t *testing.T) {
	if testing.Short() {
		t.Skip("it backs up 200 MiB")
	}
	w := newStore(t, programPath(t))
	cable, err := linktest.New(fmt.Sprintf("127.0.0.1:%d", w.sshd.Port), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer cable.Close()
	const size = 200 << 20
	noise := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	if err := os.MkdirAll(w.file("web1", "tree"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.file("web1", "tree/large"), noise, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for cable.Peek().Up < size*3/4 {
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
		cable.Cut()
	}()
	_, stderr, status := w.run(t, "web1", "backup", "-q", "-k", w.file("web1", "send.key"), "-r", "ssh://"+w.sshd.User+"@127.0.0.1",
		"--ssh-command", strings.Join(through(w.sshd, "web1", cable), " "), w.file("web1", "tree"))
	close(done)
	if status != 0 {
		t.Fatalf("backup: status %d\n%s", status, stderr)
	}
	if sent, most := cable.Peek().Up, int64(size+size/50+64<<20); sent > most {
		t.Errorf("%d MiB were sent for %d MiB, want at most %d", sent>>20, size>>20, most>>20)
	}
	w.must(t, "admin", "restore", "-q", "-r", w.repo, "-k", w.file("admin", "restore.key"), "latest", "-t", w.file("admin", "out"))
	if _, _, status := w.exec(t, "admin", "cmp", w.file("web1", "tree/large"), filepath.Join(w.file("admin", "out"), w.file("web1", "tree/large"))); status != 0 {
		t.Error("what comes back is something else")
	}
}
