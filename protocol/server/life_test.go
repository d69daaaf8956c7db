package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/internal/memstore"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo/object"
)

// silent serves a client that is about to misbehave in time, in a synctest
// bubble.
func silent(t *testing.T, idle time.Duration) (conn net.Conn, served chan error, store *memstore.Store) {
	ours, theirs := net.Pipe()
	store = memstore.New("/r")
	served = make(chan error, 1)
	opt := writeOnly
	opt.Idle = idle
	go func() { served <- server.Serve(context.Background(), theirs, store, opt, "test") }()
	go func() { _, _ = io.Copy(io.Discard, ours) }()
	return ours, served, store
}

func write(t *testing.T, conn net.Conn, parts ...[]byte) {
	t.Helper()
	for _, p := range parts {
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
	}
}

// cause returns what has really ended a conversation.
func cause(err error) error {
	var f *server.Failure
	if errors.As(err, &f) {
		return f.Err
	}
	return err
}

var greeting = append([]byte(protocol.Preamble), frame(&protocol.Hello{Lowest: 1, Highest: 1})...)

func TestASilentClientIsGivenUp(t *testing.T) {
	for name, sent := range map[string][]byte{"at once": nil, "greeted": greeting, "uploading": append(append([]byte{}, greeting...), open...)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, served, store := silent(t, time.Minute)
				defer conn.Close()
				start := time.Now()
				write(t, conn, sent)
				err := <-served
				if took := time.Since(start); took < time.Minute || took > 2*time.Minute {
					t.Errorf("given up after %v, want about a minute", took)
				}
				if !errors.Is(err, object.CodeInterrupted) {
					t.Errorf("Serve: got %v, want %v", err, object.CodeInterrupted)
				}
				if n := store.Repos["/r"].Open(); n != 0 {
					t.Errorf("%d uploads are open, want 0", n)
				}
			})
		})
	}
}

// TestASlowLorisIsGivenUp sends one byte of a large message now and then.
func TestASlowLorisIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, served, _ := silent(t, time.Minute)
		defer conn.Close()
		write(t, conn, greeting, open, []byte{0, 0x80, 0, 0, byte(protocol.TypePut)})
		start := time.Now()
		for {
			time.Sleep(10 * time.Second)
			if _, err := conn.Write([]byte{0}); err != nil {
				break
			}
		}
		<-served
		if took := time.Since(start); took > 3*time.Minute {
			t.Errorf("given up after %v, want about a minute", took)
		}
	})
}

// TestASlowLinkIsNot sends a large message slowly, but in earnest.
func TestASlowLinkIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, served, store := silent(t, time.Minute)
		big := &object.Record{Kind: object.KindChunk, ID: id(1), Key: id(2), Sealed: make([]byte, 8<<20)}
		all := frame(&protocol.Put{Record: big})
		write(t, conn, greeting, open)
		for len(all) > 0 { // 2 KiB a second
			n := min(len(all), 20<<10)
			write(t, conn, all[:n])
			all = all[n:]
			time.Sleep(10 * time.Second)
		}
		write(t, conn, bare(protocol.TypeCheckpoint, 2), bare(protocol.TypeClose, 3))
		conn.Close()
		if err := cause(<-served); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Serve: %v", err)
		}
		if n := store.Repos["/r"].Open(); n != 0 {
			t.Errorf("%d uploads are open, want 0", n)
		}
	})
}

// TestAliveKeepsAClient has a client that says nothing else for hours.
func TestAliveKeepsAClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, served, _ := silent(t, time.Minute)
		write(t, conn, greeting)
		for range 1000 {
			time.Sleep(20 * time.Second)
			write(t, conn, bare(protocol.TypeAlive, 0))
		}
		conn.Close()
		<-served
	})
}

// TestALongOperationIsNotSilence has a store that is busy for longer than its
// client may be silent.
func TestALongOperationIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, served, store := silent(t, time.Minute)
		store.Repos["/r"].Fail = func(call string) error {
			if call == "Checkpoint" {
				time.Sleep(time.Hour)
			}
			return nil
		}
		write(t, conn, greeting, open, bare(protocol.TypeCheckpoint, 2))
		time.Sleep(time.Hour + time.Second)
		write(t, conn, bare(protocol.TypeClose, 3))
		conn.Close()
		if err := cause(<-served); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Serve: %v", err)
		}
	})
}

// TestAClientThatDoesNotRead fills the server's room for answers and stays.
func TestAClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		served := make(chan error, 1)
		opt := writeOnly
		opt.Idle = time.Minute
		go func() { served <- server.Serve(context.Background(), theirs, memstore.New("/r"), opt, "test") }()
		go func() {
			_, _ = ours.Write(greeting)
			for n := uint32(1); ; n++ { // each is answered with an Error
				if _, err := ours.Write(frame(&protocol.List{Kind: protocol.TypeSnapshots, Number: n, Window: 1})); err != nil {
					return
				}
			}
		}()
		if err := <-served; !errors.Is(err, object.CodeInterrupted) {
			t.Errorf("Serve: got %v, want %v", err, object.CodeInterrupted)
		}
	})
}

// deaf is a transport on which nothing can be written any more once deafened,
// though what the client said before can be read.
type deaf struct {
	net.Conn
	now atomic.Bool
}

func (d *deaf) Write(b []byte) (int, error) {
	if d.now.Load() {
		return 0, io.ErrClosedPipe
	}
	return d.Conn.Write(b)
}

// TestAClientThatHasHungUp ends in order although the last answer can't be
// written, also when the server finds that out first. One that takes nothing
// and stays is given up.
func TestAClientThatHasHungUp(t *testing.T) {
	for name, hangsUp := range map[string]bool{"hangs up": true, "stays": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, pipe := net.Pipe()
				defer ours.Close()
				theirs := &deaf{Conn: pipe}
				served := make(chan error, 1)
				go func() { served <- server.Serve(context.Background(), theirs, memstore.New("/r"), writeOnly, "test") }()
				go func() { _, _ = io.Copy(io.Discard, ours) }()
				write(t, ours, greeting)
				synctest.Wait()
				theirs.now.Store(true)
				write(t, ours, open)
				synctest.Wait() // the answer could not be written, and the end has not been read
				if hangsUp {
					ours.Close()
				}
				err := cause(<-served)
				if hangsUp && err != nil || !hangsUp && !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("Serve: %v", err)
				}
			})
		})
	}
}
