package server_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/internal/memstore"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo/object"
)

var writeTranscripts = flag.Bool("transcripts.write", false, "write protocol/testdata/transcripts anew from the code")

const transcripts = "../testdata/transcripts"

// session is a conversation: what the client sends, and how many messages the
// server answers with before the client goes on.
type session struct {
	name   string
	opt    server.Options
	steps  []step
	broken bool // the last message is out of turn
}

type step struct {
	sent    protocol.Message
	answers int
}

func signed(m *object.Manifest) *object.Manifest {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	copy(m.Signer[:], key.Public().(ed25519.PublicKey))
	copy(m.Signature[:], ed25519.Sign(key, m.AppendUnsigned(nil)))
	return m
}

func sessions() []session {
	keyObject := &object.Record{Kind: object.KindKey, ID: object.HashID([]byte("a key object")), Sealed: []byte("a key object")}
	chunk := &object.Record{Kind: object.KindChunk, ID: id(0x11), Key: keyObject.ID, Sealed: []byte("a sealed chunk")}
	root := &object.Record{Kind: object.KindDir, ID: id(0x22), Key: keyObject.ID, Refs: []object.ID{chunk.ID}, Sealed: []byte("a sealed directory")}
	m := signed(&object.Manifest{
		Repository: memstoreID("/r"), Client: "web1", Job: "default", Seq: 1, Root: root.ID, MetadataKey: keyObject.ID, ContentKey: keyObject.ID,
		Recipients: id(0x33), SealedHash: object.HashID([]byte("a sealed part")), Time: 1790000000000000000,
	})
	hello := step{&protocol.Hello{Lowest: 1, Highest: 1, Program: "example"}, 1}
	open2 := step{&protocol.Open{Number: 5, Client: "web1", Job: "default"}, 1}
	open := step{&protocol.Open{Number: 1, Client: "web1", Job: "default"}, 1}
	bare := func(kind protocol.Type, n uint32, answers int) step {
		return step{&protocol.Bare{Kind: kind, Number: n}, answers}
	}
	opt := server.Options{Mode: server.WriteOnly, Client: "web1", Jobs: []string{"default"}, Repository: "/r"}
	full := server.Options{Repository: "/r"}
	return []session{
		{"example", opt, []step{hello, open, {&protocol.Have{Number: 2, IDs: []object.ID{chunk.ID}}, 1}, bare(protocol.TypeClose, 3, 1)}, false},
		{"backup", opt, []step{
			hello, open, {&protocol.Have{Number: 2, IDs: []object.ID{chunk.ID, root.ID}}, 1},
			{&protocol.Commit{Number: 3, Manifest: m, Sealed: []byte("a sealed part")}, 1}, // too early
			{&protocol.Put{Record: keyObject}, 0}, {&protocol.Put{Record: chunk}, 0}, {&protocol.Put{Record: root}, 0},
			bare(protocol.TypeCheckpoint, 4, 2), bare(protocol.TypeAlive, 0, 0),
			{&protocol.Commit{Number: 5, Manifest: m, Sealed: []byte("a sealed part")}, 1}, bare(protocol.TypeClose, 6, 1),
		}, false},
		{"restore", full, []step{
			hello, open, {&protocol.Put{Record: keyObject}, 0}, {&protocol.Put{Record: chunk}, 0}, {&protocol.Put{Record: root}, 0},
			{&protocol.Commit{Number: 2, Manifest: m, Sealed: []byte("a sealed part")}, 1}, bare(protocol.TypeClose, 3, 1),
			{&protocol.List{Kind: protocol.TypeSnapshots, Number: 4, Window: 1 << 20}, 2}, {&protocol.List{Kind: protocol.TypeLinks, Number: 5, Window: 1 << 20}, 1},
			{&protocol.Seek{Number: 6, Window: 1 << 20, ID: m.ID()}, 2}, {&protocol.Seek{Push: true, Number: 7, Window: 1 << 20, ID: root.ID}, 2},
			{&protocol.Fetch{Number: 8, Window: 1, IDs: []object.ID{chunk.ID, keyObject.ID}}, 1}, // the window lets one out
			{&protocol.Window{Number: 8, More: 1 << 20}, 2},
			{&protocol.Fetch{Number: 9, Window: 1 << 20, IDs: []object.ID{id(0x44)}}, 1},
			{&protocol.Administer{Number: 10, Window: 1 << 20, Operation: protocol.OpSettings}, 1},
			{&protocol.List{Kind: protocol.TypeKeys, Number: 11, Window: 1 << 20}, 2},
		}, false},
		{"replica", full, []step{
			hello, {&protocol.Replicate{Number: 1, Client: "web1", Job: "default"}, 1}, {&protocol.Have{Number: 2, IDs: []object.ID{chunk.ID, root.ID}}, 1},
			{&protocol.Put{Record: keyObject}, 0}, {&protocol.Put{Record: chunk}, 0}, {&protocol.Put{Record: root}, 0},
			{&protocol.Replica{Number: 3, Snapshot: &object.Snapshot{Received: 1790000000000000001, Flags: object.FlagMostlyNew, Manifest: m, Sealed: []byte("a sealed part")}}, 1},
			bare(protocol.TypeClose, 4, 1), open2, {&protocol.Replica{Number: 6, Snapshot: &object.Snapshot{Received: 1, Manifest: m, Sealed: []byte("a sealed part")}}, 1},
		}, false},
		{"replica-refused", opt, []step{
			hello, {&protocol.Replicate{Number: 1, Client: "web1", Job: "default"}, 1},
			{&protocol.Replica{Number: 2, Snapshot: &object.Snapshot{Received: 1, Manifest: m, Sealed: []byte("a sealed part")}}, 1},
			{&protocol.Administer{Number: 3, Window: 1, Operation: protocol.OpInitReplica}, 1},
			{&protocol.Administer{Number: 4, Window: 1, Operation: protocol.OpAddLinks}, 1},
		}, false},
		{"refused", opt, []step{
			hello, {&protocol.Open{Number: 1, Client: "web2", Job: "default"}, 1}, bare(protocol.TypeClose, 2, 1),
			{&protocol.List{Kind: protocol.TypeSnapshots, Number: 3, Window: 1 << 20}, 1}, {&protocol.Fetch{Number: 4, Window: 1, IDs: []object.ID{chunk.ID}}, 1},
			{&protocol.Administer{Number: 5, Window: 1, Operation: protocol.OpInit}, 1}, bare(protocol.TypeCheckpoint, 6, 1),
		}, true},
	}
}

func memstoreID(dir string) object.RepositoryID { return memstore.New(dir).Repos[dir].ID() }

// record holds the conversation s and returns it as a transcript.
func (s *session) record(t *testing.T) string {
	t.Helper()
	ours, theirs := net.Pipe()
	ctx := context.WithoutCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, theirs, memstore.New("/r"), s.opt, "example") }()
	ours.SetDeadline(time.Now().Add(time.Minute))
	var b strings.Builder
	fmt.Fprintf(&b, "> preamble\n%x\n", protocol.Preamble)
	if _, err := ours.Write([]byte(protocol.Preamble)); err != nil {
		t.Fatal(err)
	}
	for i, st := range s.steps {
		sent := frame(st.sent)
		fmt.Fprintf(&b, "> %s\n%s", st.sent.Type(), wrapped(sent))
		if _, err := ours.Write(sent); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			preamble := make([]byte, len(protocol.Preamble))
			if _, err := io.ReadFull(ours, preamble); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "< preamble\n%x\n", preamble)
		}
		for range st.answers {
			got, kind := rawFrame(t, ours)
			fmt.Fprintf(&b, "< %s\n%s", kind, wrapped(got))
		}
	}
	ours.Close()
	if err := <-served; (err != nil) != s.broken {
		t.Errorf("Serve: got %v, want a failure: %v", err, s.broken)
	}
	return b.String()
}

func rawFrame(t *testing.T, r io.Reader) ([]byte, protocol.Type) {
	t.Helper()
	var head [protocol.HeaderSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		t.Fatal(err)
	}
	h, err := protocol.ReadHeader(bytes.NewReader(head[:]))
	if err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(r, payload); err != nil {
		t.Fatal(err)
	}
	if _, err := protocol.Unmarshal(h.Type, payload); err != nil {
		t.Fatal(err)
	}
	return append(head[:], payload...), h.Type
}

func wrapped(b []byte) string {
	var text strings.Builder
	for len(b) > 0 {
		n := min(len(b), 32)
		fmt.Fprintf(&text, "%x\n", b[:n])
		b = b[n:]
	}
	return text.String()
}

// TestTranscripts holds each recorded conversation again and wants the same
// bytes in both directions.
func TestTranscripts(t *testing.T) {
	for _, s := range sessions() {
		t.Run(s.name, func(t *testing.T) {
			got := s.record(t)
			name := filepath.Join(transcripts, s.name+".txt")
			if *writeTranscripts {
				if err := os.MkdirAll(transcripts, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s: the conversation has changed; got\n%s\nwant\n%s", name, got, want)
			}
		})
	}
}

// TestWorkedExample compares the bytes of the example in packnback-protocol(7)
// with the transcript.
func TestWorkedExample(t *testing.T) {
	page, err := os.ReadFile("../../man/packnback-protocol.7")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(page), ".Sh EXAMPLE")
	if !ok {
		t.Fatal("packnback-protocol(7) has no example")
	}
	example, _, _ = strings.Cut(example, "\n.Sh ")
	var shown []byte
	for line := range strings.Lines(example) {
		text := strings.ReplaceAll(strings.TrimSpace(line), " ", "")
		if b, err := hex.DecodeString(text); err == nil {
			shown = append(shown, b...)
		}
	}
	transcript, err := os.ReadFile(filepath.Join(transcripts, "example.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for line := range strings.Lines(string(transcript)) {
		if b, err := hex.DecodeString(strings.TrimSpace(line)); err == nil {
			want = append(want, b...)
		}
	}
	if !bytes.Equal(shown, want) {
		t.Errorf("the manual shows %x, want %x", shown, want)
	}
	if total := fmt.Sprintf("%d bytes", len(want)); !strings.Contains(example, total) {
		t.Errorf("the example does not name its total, %s", total)
	}
}
