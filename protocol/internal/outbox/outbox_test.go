package outbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// slow is a writer that waits for permission for each write.
type slow struct {
	go_ chan struct{}
	mu  sync.Mutex
	got [][]byte
}

func (s *slow) Write(b []byte) (int, error) {
	<-s.go_
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, bytes.Clone(b))
	return len(b), nil
}

func ping(n uint32) protocol.Message { return &protocol.Bare{Kind: protocol.TypeDone, Number: n} }

func big() protocol.Message {
	return &protocol.Put{Record: &object.Record{Kind: object.KindChunk, ID: object.ID{1}, Key: object.ID{2}, Sealed: make([]byte, budget)}}
}

func TestMessagesGatherWhileAWriteIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slow{go_: make(chan struct{})}
		o := New(w)
		done := make(chan error)
		go func() { done <- o.Run() }()
		for n := range uint32(100) {
			if err := o.Send(t.Context(), ping(n+1)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		o.Close()
		close(w.go_)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if len(w.got) != 2 {
			t.Errorf("got %d writes, want 2: one message, then the 99 that gathered", len(w.got))
		}
		r := bytes.NewReader(bytes.Join(w.got, nil))
		for n := range uint32(100) {
			h, err := protocol.ReadHeader(r)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, h.Length)
			if _, err := io.ReadFull(r, b); err != nil {
				t.Fatal(err)
			}
			m, err := protocol.UnmarshalBare(h.Type, b)
			if err != nil || m.Number != n+1 {
				t.Fatalf("message %d: got %v, %v", n, m, err)
			}
		}
		if err := o.Send(t.Context(), ping(1)); !errors.Is(err, ErrClosed) {
			t.Errorf("Send after Close: got %v, want %v", err, ErrClosed)
		}
	})
}

func TestSendWaitsForRoomAndGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slow{go_: make(chan struct{})}
		o := New(w)
		done := make(chan error)
		go func() { done <- o.Run() }()
		for range 2 { // one that is being written, one that fills the buffer
			if err := o.Send(t.Context(), big()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		ctx, cancel := context.WithCancel(t.Context())
		sent := make(chan error)
		go func() { sent <- o.Send(ctx, ping(1)) }()
		synctest.Wait()
		select {
		case err := <-sent:
			t.Fatalf("Send did not wait: %v", err)
		default:
		}
		cancel()
		if err := <-sent; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		o.Fail(io.ErrClosedPipe)
		close(w.go_)
		if err := <-done; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Run after Fail: got %v, want %v", err, io.ErrClosedPipe)
		}
	})
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestAFailedWriteEndsEverySend(t *testing.T) {
	o := New(broken{})
	if err := o.Send(t.Context(), ping(1)); err != nil {
		t.Fatal(err)
	}
	if err := o.Run(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Run: got %v, want %v", err, io.ErrClosedPipe)
	}
	if err := o.Send(t.Context(), ping(2)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Send: got %v, want %v", err, io.ErrClosedPipe)
	}
}
