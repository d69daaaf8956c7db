package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/internal/memstore"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo/object"
)

// raw is a client that sends what it likes.
type raw struct {
	t      *testing.T
	conn   net.Conn
	store  *memstore.Store
	served chan error
}

// writeOnly are the options that a hostile sender meets.
var writeOnly = server.Options{Mode: server.WriteOnly, Client: "web1", Jobs: []string{"default"}, Repository: "/r"}

func dial(t *testing.T, opt server.Options) *raw {
	t.Helper()
	ours, theirs := net.Pipe()
	r := &raw{t: t, conn: ours, store: memstore.New("/r", "/other"), served: make(chan error, 1)}
	ctx := context.WithoutCancel(t.Context())
	go func() { r.served <- server.Serve(ctx, theirs, r.store, opt, "test") }()
	t.Cleanup(func() { ours.Close() })
	return r
}

// greeted is dial after a good greeting.
func greeted(t *testing.T, opt server.Options) *raw {
	t.Helper()
	r := dial(t, opt)
	r.send([]byte(protocol.Preamble), frame(&protocol.Hello{Lowest: 1, Highest: 1}))
	if m, ok := r.next().(*protocol.Welcome); !ok {
		t.Fatalf("got %T, want Welcome", m)
	}
	return r
}

func frame(m protocol.Message) []byte { return protocol.AppendFrame(nil, m) }

// send writes in the background, as net.Pipe has no buffer; what the server no
// longer reads is dropped.
func (r *raw) send(parts ...[]byte) {
	go func() { _, _ = r.conn.Write(bytes.Join(parts, nil)) }()
}

// next reads one message, the preamble before the first included.
func (r *raw) next() protocol.Message {
	r.t.Helper()
	r.conn.SetReadDeadline(time.Now().Add(time.Minute))
	var head [protocol.HeaderSize]byte
	if _, err := io.ReadFull(r.conn, head[:]); err != nil {
		r.t.Fatalf("reading a message: %v", err)
	}
	if bytes.HasPrefix([]byte(protocol.Preamble), head[:]) {
		rest := make([]byte, len(protocol.Preamble)-len(head))
		if _, err := io.ReadFull(r.conn, rest); err != nil {
			r.t.Fatal(err)
		}
		return r.next()
	}
	h, err := protocol.ReadHeader(io.MultiReader(bytes.NewReader(head[:]), r.conn))
	if err != nil {
		r.t.Fatal(err)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(r.conn, payload); err != nil {
		r.t.Fatal(err)
	}
	m, err := protocol.Unmarshal(h.Type, payload)
	if err != nil {
		r.t.Fatalf("the server sent a bad %s: %v", h.Type, err)
	}
	return m
}

// refused wants an Error of request n with code, and returns it.
func (r *raw) refused(n uint32, code object.Code) *protocol.Error {
	r.t.Helper()
	m := r.next()
	e, ok := m.(*protocol.Error)
	if !ok || e.Number != n || e.Code != code {
		r.t.Fatalf("got %s %+v, want an Error of request %d with code %d", m.Type(), m, n, code)
	}
	return e
}

// over wants the server to end the connection, and nothing to be stored.
func (r *raw) over() {
	r.t.Helper()
	r.conn.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := io.Copy(io.Discard, r.conn); err != nil || n > 0 {
		r.t.Errorf("after the last Error came %d bytes, %v", n, err)
	}
	var f *server.Failure
	if err := <-r.served; !errors.As(err, &f) {
		r.t.Errorf("Serve: got %v, want a *Failure", err)
	}
	r.untouched()
}

// untouched wants both repositories empty, and no upload open.
func (r *raw) untouched() {
	r.t.Helper()
	for name, repo := range r.store.Repos {
		if objects, snapshots := repo.Len(); objects > 0 || snapshots > 0 || repo.Open() > 0 {
			r.t.Errorf("%s has %d objects, %d snapshots and %d open uploads, want none", name, objects, snapshots, repo.Open())
		}
	}
}

func id(b byte) (id object.ID) {
	for i := range id {
		id[i] = b
	}
	return id
}

var (
	open   = frame(&protocol.Open{Number: 1, Client: "web1", Job: "default"})
	record = &object.Record{Kind: object.KindChunk, ID: id(1), Key: id(2), Sealed: []byte("sealed")}
	put    = frame(&protocol.Put{Record: record})
)

func manifest(edit func(*object.Manifest)) *object.Manifest {
	m := &object.Manifest{Client: "web1", Job: "default", Seq: 1, Root: id(1), MetadataKey: id(2), SealedHash: object.HashID([]byte("s"))}
	if edit != nil {
		edit(m)
	}
	return m
}

func commit(n uint32) []byte {
	return frame(&protocol.Commit{Number: n, Manifest: manifest(nil), Sealed: []byte("s")})
}

func bare(t protocol.Type, n uint32) []byte { return frame(&protocol.Bare{Kind: t, Number: n}) }

// TestBrokenGreetings has what comes instead of a greeting.
func TestBrokenGreetings(t *testing.T) {
	hello := frame(&protocol.Hello{Lowest: 1, Highest: 1})
	for _, c := range []struct {
		name string
		sent []byte
		code object.Code
	}{
		{"http", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), object.CodeMalformed},
		{"future framing", append([]byte("PNBwire\x02"), hello...), object.CodeMalformed},
		{"future version", append([]byte(protocol.Preamble), frame(&protocol.Hello{Lowest: 2, Highest: 9})...), object.CodeVersion},
		{"no hello", append([]byte(protocol.Preamble), open...), object.CodeMalformed},
		{"store's hello", append([]byte(protocol.Preamble), frame(&protocol.Welcome{Version: 1})...), object.CodeMalformed},
		{"other repository", append([]byte(protocol.Preamble), frame(&protocol.Hello{Lowest: 1, Highest: 1, Path: "/other"})...), object.CodeDenied},
		{"parent", append([]byte(protocol.Preamble), frame(&protocol.Hello{Lowest: 1, Highest: 1, Path: "/r/../other"})...), object.CodeDenied},
		{"huge hello", []byte(protocol.Preamble + "\x00\xff\xff\xff\x01"), object.CodeMalformed},
		{"unknown type", []byte(protocol.Preamble + "\x00\x00\x00\x00\x7f"), object.CodeMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := dial(t, writeOnly)
			r.send(c.sent)
			r.refused(0, c.code)
			r.over()
		})
	}
}

// TestOutOfTurn sends every message at every point of an upload's life where it
// doesn't belong, and frames that belong nowhere.
func TestOutOfTurn(t *testing.T) {
	have := func(n uint32) []byte { return frame(&protocol.Have{Number: n, IDs: []object.ID{id(1)}}) }
	hello := frame(&protocol.Hello{Lowest: 1, Highest: 1})
	header := func(length uint32, kind byte) []byte {
		return []byte{byte(length >> 24), byte(length >> 16), byte(length >> 8), byte(length), kind}
	}
	states := []struct {
		name string
		sent []byte
		skip int // messages the server answers with
		next uint32
	}{
		{"at rest", nil, 0, 1},
		{"uploading", bytes.Join([][]byte{open, put}, nil), 1, 2},
		{"closed", bytes.Join([][]byte{open, bare(protocol.TypeClose, 2)}, nil), 2, 3},
	}
	never := map[string][]byte{
		"hello again": hello, "unknown type": header(0, 0x7f), "type 0": header(0, 0), "type 255": header(0, 255),
		"length 2^32-1": header(1<<32-1, byte(protocol.TypePut)), "put too long": header(object.MaxRecord+1, byte(protocol.TypePut)),
		"alive with payload": header(1, byte(protocol.TypeAlive)), "have too long": header(131077, byte(protocol.TypeHave)),
		"number 0": bare(protocol.TypeClose, 0), "done": bare(protocol.TypeDone, 1), "durable": frame(&protocol.Durable{Puts: 1}),
		"welcome": frame(&protocol.Welcome{Version: 1}), "error": frame(&protocol.Error{Code: 1}),
		"held": frame(&protocol.Held{Number: 1, Held: []bool{true}}), "empty have": header(4, byte(protocol.TypeHave)),
	}
	for _, s := range states {
		for name, sent := range never {
			if name == "empty have" {
				sent = append(bytes.Clone(sent), 0, 0, 0, 99)
			}
			t.Run(s.name+"/"+name, func(t *testing.T) {
				r := greeted(t, writeOnly)
				r.send(s.sent, sent)
				for range s.skip {
					r.next()
				}
				r.refused(0, object.CodeMalformed)
				r.over()
			})
		}
		wrong := map[string][]byte{"close": bare(protocol.TypeClose, s.next), "have": have(s.next), "checkpoint": bare(protocol.TypeCheckpoint, s.next), "commit": commit(s.next), "put": put}
		if s.name == "uploading" {
			wrong = map[string][]byte{"open again": frame(&protocol.Open{Number: 2, Client: "web1", Job: "default"}), "number again": have(1)}
		}
		for name, sent := range wrong {
			t.Run(s.name+"/"+name, func(t *testing.T) {
				r := greeted(t, writeOnly)
				r.send(s.sent, sent)
				for range s.skip {
					r.next()
				}
				r.refused(0, object.CodeMalformed)
				r.over()
			})
		}
	}
}

// TestCutAnywhere ends the connection after every byte of a short session. The
// server must end, and leave nothing behind.
func TestCutAnywhere(t *testing.T) {
	session := bytes.Join([][]byte{[]byte(protocol.Preamble), frame(&protocol.Hello{Lowest: 1, Highest: 1}), open, put,
		frame(&protocol.Have{Number: 2, IDs: []object.ID{id(1)}}), bare(protocol.TypeCheckpoint, 3)}, nil)
	for n := range session {
		r := dial(t, writeOnly)
		go func() {
			_, _ = r.conn.Write(session[:n])
			r.conn.Close()
		}()
		go func() { _, _ = io.Copy(io.Discard, r.conn) }()
		select {
		case <-r.served:
		case <-time.After(time.Minute):
			t.Fatalf("cut after %d bytes: the server goes on", n)
		}
		r.untouched()
	}
}

// TestDeniedChangesNothing sends each message that the mode does not permit.
func TestDeniedChangesNothing(t *testing.T) {
	reads := []protocol.Message{
		&protocol.List{Kind: protocol.TypeSnapshots, Number: 1, Window: 1}, &protocol.List{Kind: protocol.TypeLinks, Number: 1, Window: 1},
		&protocol.List{Kind: protocol.TypeKeys, Number: 1, Window: 1},
		&protocol.Seek{Number: 1, Window: 1, ID: id(1)}, &protocol.Seek{Push: true, Number: 1, Window: 1, ID: id(1)},
		&protocol.Fetch{Number: 1, Window: 1, IDs: []object.ID{id(1)}},
		&protocol.Administer{Number: 1, Window: 1, Operation: protocol.OpInit}, &protocol.Administer{Number: 1, Window: 1, Operation: protocol.OpSet},
		&protocol.Administer{Number: 1, Window: 1, Operation: protocol.OpStats}, &protocol.Administer{Number: 1, Window: 1, Operation: 999},
	}
	for _, m := range reads {
		r := greeted(t, writeOnly)
		r.send(frame(m))
		r.refused(1, object.CodeDenied)
		r.untouched()
	}
	readOnly := server.Options{Mode: server.ReadOnly, Repository: "/r"}
	for _, sent := range [][]byte{open, frame(&protocol.Have{Number: 1, IDs: []object.ID{id(1)}}), bare(protocol.TypeCheckpoint, 1), commit(1), bare(protocol.TypeClose, 1),
		frame(&protocol.Administer{Number: 1, Window: 1, Operation: protocol.OpInit}), frame(&protocol.Administer{Number: 1, Window: 1, Operation: protocol.OpSet}),
		frame(&protocol.Administer{Number: 1, Window: 1, Operation: protocol.OpMarkBad}), frame(&protocol.Administer{Number: 1, Window: 1, Operation: protocol.OpRepairIndex})} {
		r := greeted(t, readOnly)
		r.send(sent)
		r.refused(1, object.CodeDenied)
		r.untouched()
	}
	r := greeted(t, readOnly)
	r.send(put)
	r.refused(0, object.CodeDenied)
	r.over()
}

// TestStreamsAreBounded asks for more streams, and more window, than there are.
func TestStreamsAreBounded(t *testing.T) {
	opt := server.Options{Mode: server.ReadOnly, Repository: "/r"}
	r := greeted(t, opt)
	r.store.Repos["/r"].Add(record)
	var all []byte
	for n := range uint32(protocol.MaxStreams + 1) {
		// The window lets one object out; the stream then waits for more.
		ids := []object.ID{id(1)}
		all = append(all, frame(&protocol.Fetch{Number: n + 1, Window: 1, IDs: ids})...)
	}
	blocked := make(chan struct{})
	r.store.Repos["/r"].Fail = func(string) error { <-blocked; return nil }
	r.send(all)
	r.refused(protocol.MaxStreams+1, object.CodeBusy)
	close(blocked)
	for range 2 * protocol.MaxStreams { // an Object and a Done each
		r.next()
	}
	synctest.Test(t, func(t *testing.T) {
		r := greeted(t, opt)
		wait := make(chan struct{})
		r.store.Repos["/r"].Fail = func(string) error { <-wait; return nil }
		r.send(frame(&protocol.Fetch{Number: 1, Window: protocol.MaxWindow, IDs: []object.ID{id(1)}}), frame(&protocol.Window{Number: 1, More: 1}))
		synctest.Wait() // both are read before the stream can end
		close(wait)
		for {
			if e, ok := r.next().(*protocol.Error); ok && e.Number == 0 {
				if e.Code != object.CodeMalformed {
					t.Errorf("got code %d, want %d", e.Code, object.CodeMalformed)
				}
				break
			}
		}
		r.conn.Close()
		<-r.served
	})
}
