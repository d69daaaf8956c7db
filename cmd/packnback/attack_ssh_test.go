package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// sshAttacks try to get something else out of the SSH key than backups.
var sshAttacks = []attack{
	{"shell", func(t *testing.T, w *world) { w.nothingRuns(t, nil, "") }},
	{"command", func(t *testing.T, w *world) {
		for _, c := range []string{"id", "cat /etc/passwd", "sh -c id", "packnback version", "packnback snapshots -r " + w.repo} {
			w.nothingRuns(t, nil, c)
		}
	}},
	{"command-injection", func(t *testing.T, w *world) {
		mark := w.file("store", "mark")
		for _, c := range []string{"serve; touch " + mark, "serve && touch " + mark, "serve $(touch " + mark + ")", "serve `touch " + mark + "`",
			"serve\ntouch " + mark, "' ; touch " + mark + " '", "serve | tee " + mark} {
			w.nothingRuns(t, nil, c)
		}
		if _, err := os.Stat(mark); err == nil {
			t.Error("a command in SSH_ORIGINAL_COMMAND was run")
		}
	}},
	{"destructive-command", func(t *testing.T, w *world) {
		for _, c := range []string{"rm -rf " + w.repo, "dd if=/dev/zero of=" + w.repo + "/CURRENT", "packnback forget --keep-last 1 -r " + w.repo, "packnback prune -r " + w.repo} {
			w.nothingRuns(t, nil, c)
		}
	}},
	{"terminal", func(t *testing.T, w *world) { w.nothingRuns(t, []string{"-tt"}, "") }},
	{"sftp", func(t *testing.T, w *world) {
		batch := w.file("web1", "batch")
		if err := os.WriteFile(batch, []byte("get "+w.repo+"/config "+w.file("web1", "stolen")+"\nrm "+w.repo+"/config\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, status := w.exec(t, "web1", w.copier("sftp", "-b", batch, "127.0.0.1")...)
		if status == 0 {
			t.Error("sftp worked")
		}
		w.notStolen(t)
	}},
	{"scp", func(t *testing.T, w *world) {
		for _, legacy := range []string{"-O", "-s"} {
			for _, way := range [][]string{{"127.0.0.1:" + w.repo + "/config", w.file("web1", "stolen")}, {w.file("web1", "send.key"), "127.0.0.1:" + w.repo + "/config"}} {
				if _, _, status := w.exec(t, "web1", w.copier("scp", append([]string{legacy}, way...)...)...); status == 0 {
					t.Errorf("scp %s %s worked", legacy, way)
				}
			}
		}
		w.notStolen(t)
	}},
	{"rsync", func(t *testing.T, w *world) {
		w.nothingRuns(t, nil, "rsync --server --sender -logDtpre.iLsfxC . "+w.repo+"/")
	}},
	{"local-forwarding", func(t *testing.T, w *world) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if conn, err := w.client(t, "web1").Dial("tcp", l.Addr().String()); err == nil {
			conn.Close()
			t.Error("sshd forwards connections from the sender")
		}
	}},
	{"socket-forwarding", func(t *testing.T, w *world) {
		socket := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if conn, err := w.client(t, "web1").Dial("unix", socket); err == nil {
			conn.Close()
			t.Error("sshd forwards to sockets of the store")
		}
	}},
	{"remote-forwarding", func(t *testing.T, w *world) {
		c := w.client(t, "web1")
		if l, err := c.Listen("tcp", "127.0.0.1:0"); err == nil {
			l.Close()
			t.Error("sshd listens for the sender")
		}
		if l, err := c.ListenUnix(filepath.Join(w.dir, "store", "socket")); err == nil {
			l.Close()
			t.Error("sshd makes a socket for the sender")
		}
	}},
	{"tunnel", func(t *testing.T, w *world) {
		ch, _, err := w.client(t, "web1").OpenChannel("tun@openssh.com", ssh.Marshal(struct{ Mode, Unit uint32 }{1, 0x7fffffff}))
		if err == nil {
			ch.Close()
			t.Error("sshd opens a tunnel device")
		}
	}},
	{"agent-forwarding", func(t *testing.T, w *world) { w.sessionRefuses(t, "auth-agent-req@openssh.com", nil) }},
	{"x11-forwarding", func(t *testing.T, w *world) {
		w.sessionRefuses(t, "x11-req", ssh.Marshal(struct {
			Single           bool
			Protocol, Cookie string
			Screen           uint32
		}{false, "MIT-MAGIC-COOKIE-1", strings.Repeat("0", 32), 0}))
	}},
	{"environment", func(t *testing.T, w *world) {
		for _, name := range []string{"PACKNBACK_REPO", "LD_PRELOAD", "GODEBUG", "HOME"} {
			w.sessionRefuses(t, "env", ssh.Marshal(struct{ Name, Value string }{name, "/tmp/x"}))
		}
	}},
	{"other-serve-flags", func(t *testing.T, w *world) {
		other := filepath.Join(w.dir, "store", "other")
		for _, c := range []string{"packnback serve", "packnback serve --repo " + other, "serve --read-only", "packnback serve --client web2 --job x", w.program + " serve --restrict-to /"} {
			w.staysWriteOnly(t, c)
		}
	}},
}

// nothingRuns logs in with web1's key and wants no command to have been run.
func (w *world) nothingRuns(t *testing.T, flags []string, command string) {
	t.Helper()
	args := append(append(w.sshd.SSH("web1"), flags...), "--", "127.0.0.1")
	if command != "" {
		args = append(args, command)
	}
	stdout, stderr, status := w.exec(t, "web1", args...)
	if status == 0 {
		t.Errorf("ssh %q: status 0, want a refusal", command)
	}
	for _, sign := range []string{"uid=", "root:", "ssh-", "packnback-", "compiled with", "@RSYNCD"} {
		if strings.Contains(strings.TrimPrefix(stdout, "PNBwire"), sign) {
			t.Errorf("ssh %q printed %q", command, stdout)
		}
	}
	if strings.Contains(strings.ReplaceAll(stderr, command, ""), w.repo+"/packs") {
		t.Errorf("ssh %q: stderr names files of the store: %q", command, stderr)
	}
}

// copier returns an sftp or scp command with web1's key.
func (w *world) copier(program string, args ...string) []string {
	words := []string{program}
	for i, word := range w.sshd.SSH("web1")[1:] {
		switch word {
		case "-p":
			word = "-P"
		case "-l":
			word = "-oUser=" + w.sshd.User
		}
		if i > 0 && w.sshd.SSH("web1")[i] == "-l" {
			continue
		}
		words = append(words, word)
	}
	return append(words, args...)
}

func (w *world) notStolen(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(w.file("web1", "stolen")); err == nil {
		t.Error("a file of the store was copied")
	}
}

// client is login until the end of the test.
func (w *world) client(t *testing.T, key string) *ssh.Client {
	t.Helper()
	c := w.login(t, key)
	t.Cleanup(func() { c.Close() })
	return c
}

// login logs in with a key, by a client that asks for what it likes.
func (w *world) login(t *testing.T, key string) *ssh.Client {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(w.sshd.Dir, key))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ssh.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", w.sshd.Port), &ssh.ClientConfig{
		User: w.sshd.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), // it is ours
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sessionRefuses wants a request of an SSH session to be refused.
func (w *world) sessionRefuses(t *testing.T, request string, payload []byte) {
	t.Helper()
	s, err := w.client(t, "web1").NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if ok, err := s.SendRequest(request, true, payload); ok || err != nil {
		t.Errorf("%s: granted %v, %v; want it refused", request, ok, err)
	}
}

// staysWriteOnly runs command with web1's key and wants the forced one.
func (w *world) staysWriteOnly(t *testing.T, command string) {
	t.Helper()
	s, err := w.client(t, "web1").NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(command); err != nil {
		t.Fatal(err)
	}
	w.wantPinned(t, command, struct {
		io.Reader
		io.WriteCloser
	}{out, in})
}
