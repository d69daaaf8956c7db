package transport

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
)

// farEnd is the far machine's end of a connection in memory. Both ends of an ssh
// connection begin by writing, so here writing never waits.
type farEnd struct {
	net.Conn
	mu     sync.Mutex
	queued []byte
	news   chan struct{} // has a token when there is something new in queued
}

// meet returns a dial function for Options and the far end of what it dials.
func meet(t *testing.T) (func(context.Context, string) (net.Conn, error), *farEnd) {
	near, far := net.Pipe()
	f := &farEnd{Conn: far, news: make(chan struct{}, 1)}
	gone := make(chan struct{})
	t.Cleanup(func() {
		far.Close()
		close(gone)
	})
	go func() {
		for {
			select {
			case <-f.news:
			case <-gone:
				return
			}
			f.mu.Lock()
			b := f.queued
			f.queued = nil
			f.mu.Unlock()
			if _, err := far.Write(b); err != nil {
				return
			}
		}
	}()
	return func(context.Context, string) (net.Conn, error) { return nearEnd{near}, nil }, f
}

// nearEnd is a net.Pipe with an address that known_hosts can have.
type nearEnd struct{ net.Conn }

// RemoteAddr returns an address that is in no file.
func (nearEnd) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 22} }

// Write queues b.
func (f *farEnd) Write(b []byte) (int, error) {
	f.mu.Lock()
	f.queued = append(f.queued, b...)
	f.mu.Unlock()
	select {
	case f.news <- struct{}{}:
	default:
	}
	return len(b), nil
}

// newKey returns a key and its private key file, with a passphrase if that isn't
// empty.
func newKey(t *testing.T, passphrase string) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

// takes lets anybody log in and, with commands, runs cat whatever it is told to
// run; without, it never opens a session.
func (f *farEnd) takes(t *testing.T, commands bool) {
	host, _ := newKey(t, "")
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(host)
	_, channels, requests, err := ssh.NewServerConn(f, config)
	if err != nil {
		return // the client has given up
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		if !commands {
			continue
		}
		ch, requests, err := c.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				_ = r.Reply(r.Type == "exec", nil)
			}
		}()
		go func() {
			_, _ = io.Copy(ch, ch)
			ch.Close()
		}()
	}
}

// reach dials the far end that dial leads to, with a key that has a passphrase.
// Each answer to a question takes so long.
func reach(t *testing.T, dial func(context.Context, string) (net.Conn, error), answer time.Duration) (Link, error) {
	t.Helper()
	home := t.TempDir()
	_, key := newKey(t, "secret")
	file := filepath.Join(home, "key")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	return Dial(context.Background(), Location{Host: "store", User: "me"}, Options{
		Command: "builtin -i " + file,
		Getenv:  func(name string) string { return map[string]string{"HOME": home}[name] },
		Ask: func(question string, secret bool) (string, error) {
			time.Sleep(answer)
			if secret {
				return "secret", nil
			}
			return "yes", nil
		},
		dial: dial,
	})
}

// TestAFarMachineThatFallsSilent takes the connection, and then is silent
// sooner or later.
func TestAFarMachineThatFallsSilent(t *testing.T) {
	for name, story := range map[string]func(t *testing.T, f *farEnd){
		"at once":           func(t *testing.T, f *farEnd) {},
		"with its version":  func(t *testing.T, f *farEnd) { _, _ = io.WriteString(f, "SSH-2.0-store\r\n") },
		"before a session":  func(t *testing.T, f *farEnd) { f.takes(t, false) },
		"byte after byte":   func(t *testing.T, f *farEnd) { f.drip() },
		"after its banners": func(t *testing.T, f *farEnd) { _, _ = io.WriteString(f, strings.Repeat("hello\r\n", 10)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial, far := meet(t)
				hungUp := make(chan struct{})
				go func() {
					story(t, far)
					_, _ = io.Copy(io.Discard, far)
					close(hungUp)
				}()
				start := time.Now()
				_, err := reach(t, dial, time.Hour)
				var problem *Error
				if !errors.As(err, &problem) || problem.Problem != Unreachable || !strings.Contains(err.Error(), "30s") {
					t.Errorf("got %v, want that the far machine has let nobody in", err)
				}
				asked := time.Since(start).Truncate(time.Hour) // the questions, an hour each
				if took := time.Since(start) - asked; took != dialPatience {
					t.Errorf("waited %v for the far machine, want %v", took, dialPatience)
				}
				<-hungUp
			})
		})
	}
}

// drip says that it is an ssh server, over a very long time.
func (f *farEnd) drip() {
	for range 200 {
		time.Sleep(dialPatience / 10)
		_, _ = f.Write([]byte("S"))
	}
}

// TestQuestionsTakeAnyTime has a user who needs an hour for each answer, and a
// store that is silent for another one when the login is done.
func TestQuestionsTakeAnyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, far := meet(t)
		go far.takes(t, true)
		start := time.Now()
		link, err := reach(t, dial, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if asked := time.Since(start); asked < 2*time.Hour {
			t.Errorf("the login took %v, want two questions of an hour each", asked)
		}
		time.Sleep(time.Hour)
		if _, err := link.Write([]byte("hello")); err != nil {
			t.Error(err)
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(link, b); err != nil || string(b) != "hello" {
			t.Errorf("the far side sent back %q, %v", b, err)
		}
		if err := link.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestAnAgentTakesAnyTime has an agent that thinks for an hour.
func TestAnAgentTakesAnyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		defer near.Close()
		c := newClock(near, time.Minute)
		ours, agents := net.Pipe()
		go func() {
			time.Sleep(time.Hour)
			_, _ = agents.Write([]byte("x"))
		}()
		a := asked{ours, c, func() bool { return true }}
		time.Sleep(time.Second)
		if _, err := a.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		a.Close()
		start := time.Now()
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("reading from a silent machine: got %v, want %v", err, os.ErrDeadlineExceeded)
		}
		if took := time.Since(start); took != time.Minute-time.Second {
			t.Errorf("%v were left after the question, want 59s", took)
		}
		if !c.expired() {
			t.Error("the clock has not expired")
		}
	})
}
