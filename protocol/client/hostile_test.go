package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/repo/object"
)

// liar is a store that answers what it likes.
type liar struct {
	t    *testing.T
	conn net.Conn
}

var welcome = &protocol.Welcome{Version: 1, Permissions: protocol.MayUpload | protocol.MayRead | protocol.MayAdminister, Repository: object.RepositoryID{7}}

// lie connects a client to a store that welcomes it and then does as told. It
// runs in the background until the client hangs up.
func lie(t *testing.T, story func(l *liar)) *client.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	l := &liar{t, theirs}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.say([]byte(protocol.Preamble), frame(welcome))
		if _, err := io.ReadFull(theirs, make([]byte, len(protocol.Preamble))); err != nil {
			return
		}
		l.hear() // Hello
		story(l)
		_, _ = io.Copy(io.Discard, theirs)
	}()
	conn, err := client.Connect(context.WithoutCancel(t.Context()), ours, client.Greeting{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		theirs.Close()
		<-done
	})
	return conn
}

func frame(m protocol.Message) []byte { return protocol.AppendFrame(nil, m) }

// say writes in the background: the client may be writing too.
func (l *liar) say(parts ...[]byte) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = l.conn.Write(bytes.Join(parts, nil)) // the client may have hung up
	}()
	select {
	case <-sent:
	case <-time.After(100 * time.Millisecond): // it is being written while the client writes
	}
}

// hear reads one message of the client, Alive aside.
func (l *liar) hear() protocol.Message {
	h, err := protocol.ReadHeader(l.conn)
	if err != nil {
		return nil
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(l.conn, payload); err != nil {
		return nil
	}
	m, err := protocol.Unmarshal(h.Type, payload)
	if err != nil {
		l.t.Errorf("the client sent a bad %s: %v", h.Type, err)
		return nil
	}
	if h.Type == protocol.TypeAlive {
		return l.hear()
	}
	return m
}

func standing() object.Standing { return object.Standing{Repository: welcome.Repository} }

// opened answers Open and returns a session.
func opened(t *testing.T, story func(l *liar)) (*client.Conn, *client.Session) {
	t.Helper()
	conn := lie(t, func(l *liar) {
		l.hear()
		l.say(frame(&protocol.Opened{Number: 1, Standing: standing()}))
		story(l)
	})
	s, err := conn.OpenSession(t.Context(), "web1", "default", object.ID{})
	if err != nil {
		t.Fatal(err)
	}
	return conn, s
}

// malformed wants err to say that the store broke the protocol.
func malformed(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, object.ErrMalformed) && !errors.Is(err, object.ErrChecksum) {
		t.Errorf("%s: got %v, want an error about the store's message", what, err)
	}
}

func TestALyingStoreOfUploads(t *testing.T) {
	ids := []object.ID{nameID("a"), nameID("b")}
	for name, answer := range map[string]func(l *liar){
		"held too few":      func(l *liar) { l.say(frame(&protocol.Held{Number: 2, Held: []bool{true}})) },
		"held too many":     func(l *liar) { l.say(frame(&protocol.Held{Number: 2, Held: []bool{true, true, true}})) },
		"done for held":     func(l *liar) { l.say(frame(&protocol.Bare{Kind: protocol.TypeDone, Number: 2})) },
		"unasked":           func(l *liar) { l.say(frame(&protocol.Held{Number: 99, Held: []bool{true}})) },
		"answered twice":    func(l *liar) { l.say(frame(&protocol.Opened{Number: 1, Standing: standing()})) },
		"an object":         func(l *liar) { l.say(frame(&protocol.Object{Number: 2, Record: chunk("a", 9)})) },
		"a client's frame":  func(l *liar) { l.say(frame(&protocol.Have{Number: 2, IDs: ids})) },
		"unknown type":      func(l *liar) { l.say([]byte{0, 0, 0, 0, 0xee}) },
		"too long":          func(l *liar) { l.say([]byte{0xff, 0xff, 0xff, 0xff, byte(protocol.TypeObject)}) },
		"durable too many":  func(l *liar) { l.say(frame(&protocol.Durable{Puts: 1})) },
		"trailing byte":     func(l *liar) { l.say([]byte{0, 0, 0, 5, byte(protocol.TypeDone), 0, 0, 0, 2, 0}) },
		"stray bit in held": func(l *liar) { l.say([]byte{0, 0, 0, 7, byte(protocol.TypeHeld), 0, 0, 0, 2, 0, 2, 7}) },
	} {
		t.Run(name, func(t *testing.T) {
			_, s := opened(t, func(l *liar) { l.hear(); answer(l) })
			_, err := s.Have(t.Context(), ids)
			malformed(t, "Have", err)
		})
	}
}

func TestALyingStoreOfSnapshots(t *testing.T) {
	m := manifest(standing(), nameID("root"), []byte("sealed"))
	_, s := opened(t, func(l *liar) {
		l.hear()
		l.say(frame(&protocol.Committed{Number: 2, Receipt: object.Receipt{Snapshot: nameID("another")}}))
	})
	_, err := s.Commit(t.Context(), m, []byte("sealed"))
	malformed(t, "Commit of another snapshot", err)

	conn := lie(t, func(l *liar) {
		l.hear()
		st := standing()
		st.Repository[0]++
		l.say(frame(&protocol.Opened{Number: 1, Standing: st}))
	})
	_, err = conn.OpenSession(t.Context(), "web1", "default", object.ID{})
	malformed(t, "Opened in another repository", err)

	other := &protocol.Snapshot{Number: 1, Snapshot: &object.Snapshot{Received: 1, Manifest: m, Sealed: []byte("sealed")}}
	conn = lie(t, func(l *liar) { l.hear(); l.say(frame(other)) })
	_, err = conn.Snapshot(t.Context(), nameID("wanted"))
	malformed(t, "Snapshot with another id", err)

	changed := frame(other)
	changed[protocol.HeaderSize+40] ^= 1
	conn = lie(t, func(l *liar) { l.hear(); l.say(changed) })
	err = conn.Snapshots(t.Context(), func(*object.Snapshot) error { return nil })
	malformed(t, "a snapshot with a flipped bit", err)
}

func TestALyingStoreOfObjects(t *testing.T) {
	a, b := chunk("a", 100), chunk("b", 100)
	done := frame(&protocol.Bare{Kind: protocol.TypeDone, Number: 1})
	send := func(r *object.Record) []byte { return frame(&protocol.Object{Number: 1, Record: r}) }
	flipped := send(a)
	flipped[len(flipped)-20] ^= 1
	for name, sent := range map[string][]byte{
		"swapped":     bytes.Join([][]byte{send(b), done}, nil),
		"twice":       bytes.Join([][]byte{send(a), send(a), done}, nil),
		"left out":    done,
		"flipped":     bytes.Join([][]byte{flipped, done}, nil),
		"result":      frame(&protocol.Outcome{Final: true, Number: 1}),
		"event":       frame(&protocol.Outcome{Number: 1}),
		"a snapshot":  frame(&protocol.Snapshot{Number: 1, Snapshot: &object.Snapshot{Received: 1, Manifest: manifest(standing(), a.ID, []byte("s")), Sealed: []byte("s")}}),
		"after done":  bytes.Join([][]byte{send(a), done, send(a)}, nil),
		"other query": frame(&protocol.Object{Number: 5, Record: a}),
	} {
		t.Run(name, func(t *testing.T) {
			conn := lie(t, func(l *liar) { l.hear(); l.say(sent) })
			err := conn.Fetch(t.Context(), []object.ID{a.ID}, func(r *object.Record) error {
				if r.ID != a.ID {
					t.Errorf("yielded %s, which nobody asked for", r.ID.Short())
				}
				return nil
			})
			if name == "after done" { // the stream was good; the connection isn't
				err = conn.Fetch(t.Context(), []object.ID{a.ID}, func(*object.Record) error { return nil })
			}
			malformed(t, "Fetch", err)
		})
	}
	for name, sent := range map[string][]byte{"a chunk": send(a), "a link": frame(&protocol.Snapshot{Number: 1, Snapshot: &object.Snapshot{Received: 1, Manifest: manifest(standing(), a.ID, []byte("s")), Sealed: []byte("s")}})} {
		conn := lie(t, func(l *liar) { l.hear(); l.say(sent, done) })
		malformed(t, "Keys answered with "+name, conn.Keys(t.Context(), func(r *object.Record) error { t.Errorf("yielded %s", r.ID.Short()); return nil }))
	}
	for name, r := range map[string]*object.Record{"another root": dir("other"), "a chunk": a} {
		conn := lie(t, func(l *liar) { l.hear(); l.say(send(r), done) })
		malformed(t, "Push of "+name, conn.Push(t.Context(), nameID("root"), func(*object.Record) error { return nil }))
	}
}

// TestAStoreThatNeverStops sends objects without end to a consumer that takes
// none of them.
func TestAStoreThatNeverStops(t *testing.T) {
	var sent atomic.Int32
	conn := lie(t, func(l *liar) {
		l.hear()
		big := frame(&protocol.Object{Number: 1, Record: &object.Record{Kind: object.KindDir, ID: nameID("root"), Key: key().ID, Sealed: make([]byte, 1<<20)}})
		for sent.Add(1) < 1000 {
			if _, err := l.conn.Write(big); err != nil {
				return
			}
		}
	})
	wait := make(chan struct{})
	stuck := make(chan error)
	go func() {
		stuck <- conn.Push(context.WithoutCancel(t.Context()), nameID("root"), func(*object.Record) error { <-wait; return nil })
	}()
	err := conn.Snapshots(t.Context(), func(*object.Snapshot) error { return nil })
	malformed(t, "a request beside the endless stream", err)
	close(wait)
	malformed(t, "the endless stream", <-stuck)
	if n := sent.Load(); n > 20 {
		t.Errorf("the client took %d MiB that it had not asked for", n)
	}
}

func TestAStoreThatFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() {
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			_, _ = theirs.Write(append([]byte(protocol.Preamble), frame(welcome)...))
		}()
		conn, err := client.Connect(context.Background(), ours, client.Greeting{})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = conn.OpenSession(context.Background(), "web1", "default", object.ID{})
		var lost *client.LostError
		if !errors.As(err, &lost) {
			t.Errorf("got %v, want a *LostError", err)
		}
		if took := time.Since(start); took < protocol.ClientPatience || took > 2*protocol.ClientPatience {
			t.Errorf("gave up after %v, want about %v", took, protocol.ClientPatience)
		}
		conn.Close()
		theirs.Close()
	})
}

func TestAStoreWithATongue(t *testing.T) {
	detail := "no\x1b[2J\x1b]0;owned\x07 space\n" + strings.Repeat("x", 500)
	_, s := opened(t, func(l *liar) {
		l.hear()
		l.say(frame(&protocol.Error{Number: 2, Code: object.CodeNoSpace, Detail: detail}))
	})
	_, err := s.Have(t.Context(), []object.ID{nameID("a")})
	if !errors.Is(err, object.CodeNoSpace) || strings.ContainsAny(err.Error(), "\x1b\x07\n") {
		t.Errorf("got %q", err)
	}
}

// TestWhatIsNoStore has what stands at the other end instead of one.
func TestWhatIsNoStore(t *testing.T) {
	for name, c := range map[string]struct {
		sent string
		want string // in the error
		code object.Code
	}{
		"banner":         {"\nWelcome to web1!\x1b[0m\nAll is logged.\n" + protocol.Preamble, `"Welcome to web1!?[0m"`, 0},
		"short":          {"hi\n", `"hi"`, 0},
		"nothing":        {"", "sent nothing", 0},
		"flood":          {strings.Repeat("spam ", 1<<20), `"spam spam`, 0},
		"future framing": {"PNBwire\x02........", "version 2", object.CodeVersion},
		"future version": {protocol.Preamble + "\x00\x00\x00\x02\x81\x00\x02", "version 2", object.CodeVersion},
		"refusal":        {protocol.Preamble + string(frame(&protocol.Error{Code: object.CodeDenied, Detail: "go away"})), "go away", object.CodeDenied},
		"wrong message":  {protocol.Preamble + string(frame(&protocol.Durable{Puts: 1})), "instead of Welcome", 0},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			go func() {
				_, _ = theirs.Write([]byte(c.sent))
				theirs.Close()
			}()
			_, err := client.Connect(t.Context(), ours, client.Greeting{})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 400 {
				t.Fatalf("got %q, want something with %q", err, c.want)
			}
			if c.code != 0 && !errors.Is(err, c.code) {
				t.Errorf("got code %d, want %d", object.CodeOf(err), c.code)
			}
			var noise *client.NoiseError
			if isNoise := errors.As(err, &noise); isNoise != (name == "banner" || name == "short" || name == "nothing" || name == "flood") {
				t.Errorf("%v is noise: %v", err, isNoise)
			}
		})
	}
}

// FuzzClient lets a store send arbitrary bytes to a client that is in the
// middle of everything. It must come to an end without a panic and without
// believing what it can check.
func FuzzClient(f *testing.F) {
	a := chunk("a", 100)
	f.Add(bytes.Join([][]byte{frame(&protocol.Opened{Number: 1, Standing: standing()}), frame(&protocol.Held{Number: 2, Held: []bool{true}})}, nil))
	f.Add(bytes.Join([][]byte{frame(&protocol.Object{Number: 2, Record: a}), frame(&protocol.Bare{Kind: protocol.TypeDone, Number: 2})}, nil))
	f.Add(bytes.Join([][]byte{frame(&protocol.Error{Number: 1, Code: object.CodeMissing, Missing: []object.ID{a.ID}}), frame(&protocol.Durable{Puts: 3})}, nil))
	f.Add(frame(&protocol.Outcome{Final: true, Number: 3, Body: []byte("x")}))
	f.Fuzz(func(t *testing.T, sent []byte) {
		in, feed := io.Pipe()
		conn, err := func() (*client.Conn, error) {
			go func() {
				_, _ = feed.Write(append(append([]byte(protocol.Preamble), frame(welcome)...), sent...))
				feed.Close()
			}()
			return client.Connect(context.Background(), sink{in}, client.Greeting{})
		}()
		if err != nil {
			t.Fatalf("Connect: %v", err)
		}
		if s, err := conn.OpenSession(context.Background(), "web1", "default", object.ID{}); err == nil {
			if s.Standing().Repository != welcome.Repository {
				t.Fatalf("a session in repository %s", s.Standing().Repository)
			}
			_, _ = s.Have(context.Background(), []object.ID{a.ID})
		}
		_ = conn.Fetch(context.Background(), []object.ID{a.ID}, func(r *object.Record) error {
			if r.ID != a.ID {
				t.Fatalf("yielded %s, which nobody asked for", r.ID)
			}
			return nil
		})
		_, _ = conn.Stats(context.Background())
		conn.Close()
	})
}

// sink takes everything that is written to it.
type sink struct{ *io.PipeReader }

// Write drops b.
func (sink) Write(b []byte) (int, error) { return len(b), nil }
