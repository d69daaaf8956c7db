package client_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/protocol/internal/memstore"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo/object"
)

// slowStore needs long to open a repository.
type slowStore struct {
	*memstore.Store
	takes time.Duration
}

func (s slowStore) Open(ctx context.Context, dir string) (server.Repository, error) {
	time.Sleep(s.takes)
	return s.Store.Open(ctx, dir)
}

// TestAStoreThatOpensSlowly says that it is alive before it says Welcome.
func TestAStoreThatOpensSlowly(t *testing.T) {
	for name, opt := range map[string]server.Options{"idle time": {Repository: "/r", Idle: 6 * time.Second}, "no idle time": {Repository: "/r"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				served := make(chan error, 1)
				go func() {
					served <- server.Serve(context.Background(), theirs, slowStore{memstore.New("/r"), 10 * protocol.AliveInterval}, opt, "test")
				}()
				conn, err := client.Connect(context.Background(), ours, client.Greeting{})
				if err != nil {
					<-served
					t.Fatalf("Connect: %v", err)
				}
				backup(t, conn, "root", chunk("a", 100))
				if err := conn.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				if err := <-served; err != nil {
					t.Errorf("Serve: %v", err)
				}
			})
		})
	}
}

// TestAStoreThatNeverAnswers is given up, whatever else it says than Welcome.
func TestAStoreThatNeverAnswers(t *testing.T) {
	alive := frame(&protocol.Bare{Kind: protocol.TypeStoreAlive})
	for name, story := range map[string]func(theirs net.Conn){
		"nothing":      func(net.Conn) {},
		"its preamble": func(theirs net.Conn) { _, _ = theirs.Write([]byte(protocol.Preamble)) },
		"alive for ever": func(theirs net.Conn) {
			_, err := theirs.Write([]byte(protocol.Preamble))
			for err == nil {
				time.Sleep(protocol.AliveInterval)
				_, err = theirs.Write(alive)
			}
		},
		"a byte now and then": func(theirs net.Conn) {
			var err error
			for i := 0; err == nil; i++ {
				time.Sleep(time.Minute)
				_, err = theirs.Write(append([]byte(protocol.Preamble), frame(welcome)...)[i : i+1])
			}
		},
	} {
		for _, patience := range []time.Duration{0, time.Minute} {
			t.Run(fmt.Sprintf("%s, %v", name, patience), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ours, theirs := net.Pipe()
					told, hungUp := make(chan struct{}), make(chan struct{})
					go func() {
						story(theirs)
						close(told)
					}()
					go func() {
						_, _ = io.Copy(io.Discard, theirs)
						close(hungUp)
					}()
					start, want := time.Now(), cmp.Or(patience, protocol.WelcomePatience)
					_, err := client.Connect(context.Background(), ours, client.Greeting{Patience: patience})
					var silent *client.SilenceError
					if !errors.As(err, &silent) || silent.After != want || !errors.Is(err, object.CodeInterrupted) {
						t.Errorf("got %v, want a *SilenceError", err)
					}
					if took := time.Since(start); took != want {
						t.Errorf("gave up after %v, want %v", took, want)
					}
					<-hungUp
					<-told
				})
			})
		}
	}
}

// TestAnAnswerAfterTheLogin comes when somebody has found a passphrase, and in
// the last moment where there is a limit.
func TestAnAnswerAfterTheLogin(t *testing.T) {
	for patience, after := range map[time.Duration]time.Duration{-1: 24 * time.Hour, 0: protocol.WelcomePatience - 1} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() {
				time.Sleep(after)
				_, _ = theirs.Write(append([]byte(protocol.Preamble), frame(welcome)...))
			}()
			hungUp := make(chan struct{})
			go func() {
				_, _ = io.Copy(io.Discard, theirs)
				close(hungUp)
			}()
			conn, err := client.Connect(context.Background(), ours, client.Greeting{Patience: patience})
			if err != nil {
				t.Fatalf("an answer after %v, with patience %v: %v", after, patience, err)
			}
			time.Sleep(time.Minute) // and the limit, long past, ends nothing
			if got := conn.ID(); got != welcome.Repository {
				t.Errorf("got repository %s", got)
			}
			select {
			case <-hungUp:
				t.Error("the connection has ended")
			default:
			}
			conn.Close()
			theirs.Close()
		})
	}
}
