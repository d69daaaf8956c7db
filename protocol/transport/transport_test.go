package transport_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/packnback/packnback/protocol/transport"
	"github.com/packnback/packnback/protocol/transport/sshdtest"
)

// echo is a program for the far side: it says something on stderr and then
// sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "echo")
	script := "#!/bin/sh\n[ \"$1\" = serve ] || exit 9\nprintf 'hello \\033[31mthere\\n' >&2\nexec cat\n"
	if err := os.WriteFile(name, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// server starts an sshd that takes the key "me", with both ways to call it.
func server(t *testing.T) (s *sshdtest.Server, to transport.Location, ways map[string]transport.Options) {
	t.Helper()
	s = sshdtest.Start(t)
	s.Authorize(t, s.Key(t, "me"))
	to = transport.Location{Host: "127.0.0.1", Port: s.Port, User: s.User}
	getenv := func(name string) string { return map[string]string{"HOME": s.Home()}[name] }
	return s, to, map[string]transport.Options{
		"exec":    {Command: strings.Join(s.SSH("me"), " "), Getenv: getenv},
		"builtin": {Command: "builtin -i " + filepath.Join(s.Dir, "me"), Getenv: getenv},
	}
}

func TestBytesGoBothWays(t *testing.T) {
	_, to, ways := server(t)
	program := echo(t)
	for name, opt := range ways {
		t.Run(name, func(t *testing.T) {
			var said buffer
			opt.Program, opt.Stderr = program, &said
			link, err := transport.Dial(t.Context(), to, opt)
			if err != nil {
				t.Fatal(err)
			}
			want := bytes.Repeat([]byte("all 256 bytes: \x00\xff\r\n"), 100000)
			go link.Write(want)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(link, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the far side sent back %d other bytes, %v", len(got), err)
			}
			if err := link.Close(); err != nil {
				t.Error(err)
			}
			if got, want := said.String(), "remote: hello ?[31mthere\n"; got != want {
				t.Errorf("stderr: got %q, want %q", got, want)
			}
			if _, err := link.Write([]byte("x")); err == nil {
				t.Error("writing after Close worked")
			}
		})
	}
}

// TestLastWordsOfABrokenOffRun has a far side that complains when its input
// ends: the user hears it, unless it was the user who ended it.
func TestLastWordsOfABrokenOffRun(t *testing.T) {
	_, to, ways := server(t)
	program := filepath.Join(t.TempDir(), "mourn")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho here\ncat\necho gone >&2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, opt := range ways {
		for _, broken := range []bool{false, true} {
			var said buffer
			opt.Program, opt.Stderr = program, &said
			ctx, cancel := context.WithCancel(t.Context())
			link, err := transport.Dial(ctx, to, opt)
			if err != nil {
				t.Fatal(err)
			}
			// The patience with its end is not for its start.
			if _, err := io.ReadFull(link, make([]byte, len("here\n"))); err != nil {
				t.Fatal(err)
			}
			if broken {
				cancel()
			}
			link.Close()
			cancel()
			if got := said.String(); (got == "") != broken {
				t.Errorf("%s, broken off %v: the far side said %q", name, broken, got)
			}
		}
	}
}

// unanswered returns a port on which nobody listens while the test runs.
func unanswered(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return addr.(*syscall.SockaddrInet4).Port
}

// TestWhatGoesWrongIsToldApart has each failure of a login that a user can do
// something about.
func TestWhatGoesWrongIsToldApart(t *testing.T) {
	s, to, ways := server(t)
	s.Key(t, "stranger")
	other := sshdtest.Start(t) // its host key is not the one that is known for it below
	empty := t.TempDir()
	swapped := t.TempDir()
	known, err := os.ReadFile(filepath.Join(s.Home(), ".ssh/known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	os.Mkdir(filepath.Join(swapped, ".ssh"), 0o700)
	wrong := strings.ReplaceAll(string(known), fmt.Sprint(s.Port), fmt.Sprint(other.Port))
	if err := os.WriteFile(filepath.Join(swapped, ".ssh/known_hosts"), []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	dead := unanswered(t)
	hints := map[transport.Problem]string{
		transport.HostKeyUnknown: fmt.Sprintf(": ssh -p %d %s@%s", s.Port, s.User, to.Host),
		transport.HostKeyChanged: fmt.Sprintf(": ssh-keygen -R '[%s]:%d'", to.Host, other.Port),
	}
	for _, c := range []struct {
		name string
		want transport.Problem
		edit func(way string, to *transport.Location, opt *transport.Options)
	}{
		{"nobody listens", transport.Unreachable, func(_ string, to *transport.Location, _ *transport.Options) { to.Port = dead }},
		{"key refused", transport.LoginRefused, func(_ string, _ *transport.Location, opt *transport.Options) {
			opt.Command = strings.ReplaceAll(opt.Command, "/me", "/stranger")
		}},
		{"no program", transport.NoProgram, func(_ string, _ *transport.Location, opt *transport.Options) {
			opt.Program = "packnback-that-is-not-there"
		}},
		{"host key unknown", transport.HostKeyUnknown, func(_ string, _ *transport.Location, opt *transport.Options) {
			opt.Command = strings.ReplaceAll(opt.Command, s.Home(), empty)
			opt.Getenv = func(string) string { return empty }
		}},
		{"host key changed", transport.HostKeyChanged, func(_ string, to *transport.Location, opt *transport.Options) {
			to.Port = other.Port
			opt.Command = strings.ReplaceAll(strings.ReplaceAll(opt.Command, s.Home(), swapped), fmt.Sprintf("-p %d", s.Port), "")
			opt.Getenv = func(string) string { return swapped }
		}},
	} {
		for way, opt := range ways {
			t.Run(c.name+"/"+way, func(t *testing.T) {
				to, opt := to, opt
				var said buffer
				opt.Stderr = &said
				c.edit(way, &to, &opt)
				start := time.Now()
				if way == "exec" && c.want == transport.Unreachable {
					opt.Command = strings.ReplaceAll(opt.Command, fmt.Sprintf("-p %d", s.Port), "")
				}
				link, err := transport.Dial(t.Context(), to, opt)
				if err == nil {
					_, err = link.Read(make([]byte, 1))
					err = link.Explain(err)
					link.Close()
				}
				var problem *transport.Error
				if !errors.As(err, &problem) || problem.Problem != c.want {
					t.Fatalf("got %v, want problem %d", err, c.want)
				}
				// What ssh says is held back for a second, in case that an error tells it.
				if problem.Detail != "" && time.Since(start) < time.Second && strings.Contains(said.String(), problem.Detail) {
					t.Errorf("the error's %q was told before: %q", problem.Detail, said.String())
				}
				if problem.Hint() == "" {
					t.Errorf("no hint for %v", err)
				}
				if want := hints[c.want]; !strings.Contains(problem.Hint(), want) {
					t.Errorf("the hint is %q, want %q in it", problem.Hint(), want)
				}
				if strings.ContainsAny(err.Error(), "\n\x1b") {
					t.Errorf("the message is not one line: %q", err)
				}
			})
		}
	}
}

func TestTheUserVouchesForAHostKeyOnce(t *testing.T) {
	_, to, ways := server(t)
	home := t.TempDir()
	opt := ways["builtin"]
	opt.Program = echo(t)
	opt.Getenv = func(name string) string { return map[string]string{"HOME": home}[name] }
	var asked []string
	answer := "no"
	opt.Ask = func(question string, secret bool) (string, error) {
		asked = append(asked, question)
		return answer, nil
	}
	var problem *transport.Error
	if _, err := transport.Dial(t.Context(), to, opt); !errors.As(err, &problem) || problem.Problem != transport.HostKeyUnknown {
		t.Fatalf("after the answer no: got %v, want an unknown host key", err)
	}
	answer = "yes"
	for range 2 {
		link, err := transport.Dial(t.Context(), to, opt)
		if err != nil {
			t.Fatal(err)
		}
		link.Close()
	}
	if len(asked) != 2 || !strings.Contains(asked[0], "SHA256:") {
		t.Errorf("asked %d times, want 2: one refused, one remembered; %q", len(asked), asked)
	}
}

func TestTheBuiltinClientUsesTheAgent(t *testing.T) {
	s, to, ways := server(t)
	text, err := os.ReadFile(filepath.Join(s.Dir, "me"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	keyring := agent.NewKeyring()
	if err := keyring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(keyring, conn)
		}
	}()
	opt := ways["builtin"]
	opt.Command, opt.Program = "builtin", echo(t)
	opt.Getenv = func(name string) string {
		return map[string]string{"HOME": s.Home(), "SSH_AUTH_SOCK": socket}[name]
	}
	link, err := transport.Dial(t.Context(), to, opt)
	if err != nil {
		t.Fatal(err)
	}
	link.Close()
}

func TestAnEncryptedKeyAsksForItsPassphrase(t *testing.T) {
	s, to, ways := server(t)
	text, err := os.ReadFile(filepath.Join(s.Dir, "me"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.Home(), ".ssh", "id_ed25519")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	opt := ways["builtin"]
	opt.Command, opt.Program = "builtin", echo(t)
	if _, err := transport.Dial(t.Context(), to, opt); err == nil || !strings.Contains(err.Error(), "passphrase") {
		t.Errorf("with nobody to ask: got %v, want something about the passphrase", err)
	}
	opt.Ask = func(question string, secret bool) (string, error) {
		if !secret {
			t.Errorf("%q is not secret", question)
		}
		return "secret", nil
	}
	link, err := transport.Dial(t.Context(), to, opt)
	if err != nil {
		t.Fatal(err)
	}
	link.Close()
}

func TestDialEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if conn, err := l.Accept(); err == nil {
			cancel()
			defer conn.Close()
			io.Copy(io.Discard, conn)
		}
	}()
	opt := transport.Options{Command: "builtin -l me", Getenv: func(string) string { return t.TempDir() }}
	_, err = transport.Dial(ctx, transport.Location{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}, opt)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
