package server_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/internal/memstore"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo/object"
)

// FuzzServe sends arbitrary bytes after a good greeting. The server must end
// with the connection, answer nothing but messages of its own, and show a
// write-only client none of what the repository holds.
func FuzzServe(f *testing.F) {
	have := frame(&protocol.Have{Number: 2, IDs: []object.ID{id(1), id(9)}})
	for mode := range byte(3) {
		f.Add(mode, bytes.Join([][]byte{open, put, have, bare(protocol.TypeCheckpoint, 3), commit(4), bare(protocol.TypeClose, 5)}, nil))
		f.Add(mode, bytes.Join([][]byte{frame(&protocol.List{Kind: protocol.TypeSnapshots, Number: 1, Window: 1 << 20}), frame(&protocol.Fetch{Number: 2, Window: 1, IDs: []object.ID{id(9)}}),
			frame(&protocol.Window{Number: 2, More: 1 << 20}), bare(protocol.TypeCancel, 2), frame(&protocol.Seek{Push: true, Number: 3, Window: 1, ID: id(9)})}, nil))
		f.Add(mode, bytes.Join([][]byte{frame(&protocol.List{Kind: protocol.TypeKeys, Number: 1, Window: 1}), frame(&protocol.Window{Number: 1, More: 1 << 20})}, nil))
		f.Add(mode, bytes.Join([][]byte{frame(&protocol.Administer{Number: 1, Window: 9, Operation: protocol.OpStats}), frame(&protocol.Administer{Number: 2, Window: 9, Operation: protocol.OpInit})}, nil))
		f.Add(mode, []byte{0xff, 0xff, 0xff, 0xff, 0x04})
	}
	wrapped := []byte("wrapped session keys")
	sealedKey := &object.Record{Kind: object.KindKey, ID: object.HashID(wrapped), Sealed: wrapped}
	secret := &object.Record{Kind: object.KindChunk, ID: id(9), Key: id(2), Sealed: []byte("what nobody may see")}
	f.Fuzz(func(t *testing.T, mode byte, sent []byte) {
		store := memstore.New("/r")
		store.Repos["/r"].Add(secret, sealedKey)
		opt := server.Options{Mode: server.Mode(mode % 3), Client: "web1", Repository: "/r"}
		in, feed := io.Pipe()
		drain, out := io.Pipe()
		served := make(chan error, 1)
		go func() { served <- server.Serve(context.Background(), halves{in, out}, store, opt, "fuzz") }()
		go func() {
			_, _ = feed.Write(append(append([]byte{}, greeting...), sent...))
			feed.Close() // the server must not wait for anything else
		}()
		got, _ := io.ReadAll(io.LimitReader(drain, 1<<20))
		drain.Close()
		select {
		case <-served:
		case <-time.After(time.Minute):
			t.Fatal("the server goes on after its connection")
		}
		if opt.Mode == server.WriteOnly && (bytes.Contains(got, secret.Sealed) || bytes.Contains(got, wrapped)) {
			t.Fatal("a write-only connection read an object")
		}
		if n := store.Repos["/r"].Open(); n != 0 {
			t.Fatalf("%d uploads are open", n)
		}
		if len(got) > len(protocol.Preamble) {
			checkAnswers(t, got[len(protocol.Preamble):])
		}
	})
}

// halves is a connection of two pipes, so that one side can be closed alone.
type halves struct {
	*io.PipeReader
	*io.PipeWriter
}

// Close closes both.
func (h halves) Close() error {
	h.PipeReader.Close()
	return h.PipeWriter.Close()
}

func checkAnswers(t *testing.T, got []byte) {
	for r := bytes.NewReader(got); r.Len() > 0; {
		h, err := protocol.ReadHeader(r)
		if err != nil {
			return // cut where the fuzzer hung up
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		if _, err := protocol.Unmarshal(h.Type, payload); err != nil || h.Type.FromClient() {
			t.Fatalf("the server answers with a bad %s: %v", h.Type, err)
		}
	}
}
