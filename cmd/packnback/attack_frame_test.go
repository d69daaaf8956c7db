package main

import (
	"bytes"
	"io"
	"testing"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// frameAttacks send what the protocol does not allow.
var frameAttacks = []attack{
	{"not-the-protocol", func(t *testing.T, w *world) {
		for _, sent := range []string{"GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n", "\x00\x00\x00\x00\x00\x00\x00\x00", "PNBwire\x02", "id\nid\nid\nid\n"} {
			w.hangsUp(t, "preamble "+sent, nil, []byte(sent))
		}
	}},
	{"wrong-version", func(t *testing.T, w *world) {
		for _, h := range []*protocol.Hello{{Lowest: 2, Highest: 2}, {Lowest: 65535, Highest: 65535}} {
			w.hangsUp(t, "version", nil, append([]byte(protocol.Preamble), frame(h)...))
		}
	}},
	{"nothing-before-hello", func(t *testing.T, w *world) {
		for _, m := range everyMessage() {
			if m.Type() != protocol.TypeHello {
				w.hangsUp(t, m.Type().String()+" before Hello", nil, append([]byte(protocol.Preamble), frame(m)...))
			}
		}
	}},
	{"wrong-type", func(t *testing.T, w *world) {
		for _, kind := range []byte{0, 0x09, 0x0f, 0x17, 0x1f, 0x21, 0x7f, 0x80, 0x81, 0x84, 0x91, 0xff} {
			state := w.states(t)[int(kind)%3]
			w.hangsUp(t, "an unknown type "+state.name, state.sent, []byte{0, 0, 0, 0, kind})
		}
	}},
	{"wrong-length", func(t *testing.T, w *world) {
		for _, kind := range []protocol.Type{protocol.TypeAlive, protocol.TypeOpen, protocol.TypePut, protocol.TypeHave, protocol.TypeCheckpoint, protocol.TypeCommit, protocol.TypeClose} {
			limit, _ := kind.Limit()
			for i, length := range []int{limit + 1, 1<<32 - 1} {
				state := w.states(t)[i]
				w.hangsUp(t, kind.String()+" of a wrong length "+state.name, state.sent, []byte{byte(length >> 24), byte(length >> 16), byte(length >> 8), byte(length), byte(kind)})
			}
		}
	}},
	{"cut-frame", func(t *testing.T, w *world) {
		for _, m := range []protocol.Message{&protocol.Put{Record: small()}, &protocol.Open{Number: 9, Client: "web1", Job: "default"}} {
			whole := frame(m)
			for _, n := range []int{1, 4, 5, 6, len(whole) - 1} {
				w.ends(t, "a cut frame", whole[:n])
			}
		}
	}},
	{"wrong-time", func(t *testing.T, w *world) {
		put, have := frame(&protocol.Put{Record: small()}), frame(&protocol.Have{Number: 100, IDs: []object.ID{w.foreign}})
		hello := frame(&protocol.Hello{Lowest: 1, Highest: 1})
		open := frame(&protocol.Open{Number: 100, Client: "web1", Job: "default"})
		for _, state := range w.states(t) {
			wrong := [][]byte{hello, open}
			if state.name != "while uploading" {
				wrong = [][]byte{hello, put, have, bare(protocol.TypeCheckpoint, 100), bare(protocol.TypeClose, 100)}
			}
			for _, sent := range wrong {
				w.hangsUp(t, "out of turn "+state.name, state.sent, sent)
			}
		}
	}},
	{"wrong-number", func(t *testing.T, w *world) {
		open := frame(&protocol.Open{Number: 7, Client: "web1", Job: "default"})
		for _, n := range []uint32{0, 1, 7} {
			w.hangsUp(t, "an old number", open, bare(protocol.TypeCheckpoint, n))
		}
	}},
	{"store's-messages", func(t *testing.T, w *world) {
		for _, m := range []protocol.Message{
			&protocol.Welcome{Version: 1, Permissions: protocol.MayAdminister}, &protocol.Committed{Number: 1}, &protocol.Durable{Puts: 1},
			&protocol.Error{Code: object.CodeDenied}, &protocol.Object{Number: 1, Record: small()}, &protocol.Outcome{Final: true, Number: 1},
		} {
			w.hangsUp(t, "a store's "+m.Type().String(), nil, frame(m))
		}
	}},
	{"broken-payload", func(t *testing.T, w *world) {
		open := frame(&protocol.Open{Number: 1, Client: "web1", Job: "default"})
		for _, sent := range [][]byte{
			{0, 0, 0, 5, byte(protocol.TypeClose), 0, 0, 0, 9, 0}, {0, 0, 0, 3, byte(protocol.TypeHave), 0, 0, 9},
			{0, 0, 0, 37, byte(protocol.TypeHave), 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3},
			frame(&protocol.Open{Number: 9, Client: "../../etc", Job: "default"}), frame(&protocol.Open{Number: 9, Client: "web1", Job: "a/b"}),
		} {
			state := open
			if protocol.Type(sent[4]) == protocol.TypeOpen {
				state = nil
			}
			w.hangsUp(t, "a broken payload", state, sent)
		}
	}},
}

// everyMessage has one of each message of a client.
func everyMessage() []protocol.Message {
	return []protocol.Message{
		&protocol.Hello{Lowest: 1, Highest: 1}, &protocol.Open{Number: 1, Client: "web1", Job: "default"}, &protocol.Put{Record: small()},
		&protocol.Have{Number: 1, IDs: []object.ID{{1}}}, &protocol.Bare{Kind: protocol.TypeCheckpoint, Number: 1}, &protocol.Bare{Kind: protocol.TypeClose, Number: 1},
		&protocol.List{Kind: protocol.TypeSnapshots, Number: 1, Window: 1}, &protocol.Seek{Number: 1, Window: 1}, &protocol.Fetch{Number: 1, Window: 1, IDs: []object.ID{{1}}},
		&protocol.Window{Number: 1, More: 1}, &protocol.Bare{Kind: protocol.TypeCancel, Number: 1}, &protocol.Administer{Number: 1, Window: 1, Operation: protocol.OpStats},
	}
}

func small() *object.Record {
	return &object.Record{Kind: object.KindChunk, ID: object.ID{1}, Key: object.ID{2}, Sealed: []byte("x")}
}

func bare(kind protocol.Type, n uint32) []byte {
	return frame(&protocol.Bare{Kind: kind, Number: n})
}

// state is a point in the life of a connection: what has been sent after the
// greeting.
type state struct {
	name string
	sent []byte
}

func (w *world) states(t *testing.T) []state {
	t.Helper()
	open := frame(&protocol.Open{Number: 1, Client: "web1", Job: "default"})
	return []state{
		{"at rest", nil},
		{"while uploading", bytes.Join([][]byte{open, frame(&protocol.Put{Record: small()})}, nil)},
		{"after an upload", bytes.Join([][]byte{open, bare(protocol.TypeClose, 2)}, nil)},
	}
}

// hangsUp sends what may be sent, then what may not, and wants an Error for the
// connection and its end. With before nil the bytes come instead of a greeting
// when they start with something else than a frame.
func (w *world) hangsUp(t *testing.T, what string, before, sent []byte) {
	t.Helper()
	link := w.wire(t, "web1")
	defer link.Close()
	greeting := append([]byte(protocol.Preamble), frame(&protocol.Hello{Lowest: 1, Highest: 1})...)
	if len(sent) >= len(protocol.Preamble) && protocol.Type(sent[4]) > 0x21 && bytes.IndexByte([]byte("PGSi"), sent[0]) >= 0 {
		greeting = nil
	}
	if bytes.Equal(sent, make([]byte, 8)) {
		greeting = nil
	}
	if _, err := link.Write(bytes.Join([][]byte{greeting, before, sent}, nil)); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	last := lastMessage(t, what, link)
	e, ok := last.(*protocol.Error)
	if !ok || e.Number != 0 || e.Code != object.CodeMalformed && e.Code != object.CodeVersion && e.Code != object.CodeDenied {
		t.Errorf("%s: the last message is %+v, want an Error that ends the connection", what, last)
	}
}

// ends sends bytes in an upload, hangs up and wants the server to end.
func (w *world) ends(t *testing.T, what string, sent []byte) {
	t.Helper()
	link := w.wire(t, "web1")
	greeting := append([]byte(protocol.Preamble), frame(&protocol.Hello{Lowest: 1, Highest: 1})...)
	if _, err := link.Write(append(greeting, sent...)); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	link.Close()
}

// lastMessage reads until the server hangs up.
func lastMessage(t *testing.T, what string, link io.Reader) (last protocol.Message) {
	t.Helper()
	all, err := io.ReadAll(link)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if !bytes.HasPrefix(all, []byte(protocol.Preamble)) {
		t.Fatalf("%s: the server sent %q", what, all)
	}
	for r := bytes.NewReader(all[len(protocol.Preamble):]); r.Len() > 0; {
		if last, err = readMessage(r); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	return last
}

// readMessage reads one message, and the preamble before it if there is one.
func readMessage(r io.Reader) (protocol.Message, error) {
	var head [protocol.HeaderSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	if bytes.HasPrefix([]byte(protocol.Preamble), head[:]) {
		if _, err := io.ReadFull(r, make([]byte, len(protocol.Preamble)-len(head))); err != nil {
			return nil, err
		}
		return readMessage(r)
	}
	h, err := protocol.ReadHeader(bytes.NewReader(head[:]))
	if err != nil {
		return nil, err
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, err
	}
	return protocol.Unmarshal(h.Type, payload)
}

func (w *world) hello() []byte { return frame(&protocol.Hello{Lowest: 1, Highest: 1}) }

func (w *world) openFrame() []byte {
	return frame(&protocol.Open{Number: 1, Client: "web1", Job: "default"})
}

func (w *world) putFrame(rec *object.Record) []byte { return frame(&protocol.Put{Record: rec}) }

// until reads messages up to the Error of request n.
func (w *world) until(link io.Reader, n uint32) (*protocol.Error, error) {
	for {
		m, err := readMessage(link)
		if err != nil {
			return nil, err
		}
		if e, ok := m.(*protocol.Error); ok && (e.Number == n || e.Number == 0) {
			return e, nil
		}
	}
}
