package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo/object"
)

// A hostile store is the real one with a liar in front, which the honest
// program starts in ssh's place: "hostile LIE DIR".

// lie is how a liar changes what the store says, message by message. What it
// returns is sent instead of m.
type lie func(l *hostileStore, m protocol.Message) []protocol.Message

// hostileStore is the liar's memory.
type hostileStore struct {
	mu      sync.Mutex         // held while it lies, either way
	objects []*protocol.Object // held back
	puts    uint64             // seen on their way to the store
	dropped int                // commits and puts that never reached it
	commit  *protocol.Commit
	last    *protocol.Snapshot
}

// one and none are the usual answers.
func one(m protocol.Message) []protocol.Message { return []protocol.Message{m} }

var lies = map[string]lie{
	"none": func(_ *hostileStore, m protocol.Message) []protocol.Message { return one(m) },
	"holds-everything": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if h, ok := m.(*protocol.Held); ok {
			for i := range h.Held {
				h.Held[i] = true
			}
		}
		return one(m)
	},
	"holds-nothing": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if h, ok := m.(*protocol.Held); ok {
			clear(h.Held)
		}
		return one(m)
	},
	"durable-too-soon": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if _, ok := m.(*protocol.Opened); ok {
			return []protocol.Message{m, &protocol.Durable{Puts: 1 << 60}}
		}
		return one(m)
	},
	"other-repository": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if o, ok := m.(*protocol.Opened); ok {
			o.Standing.Repository[0] ^= 1
		}
		return one(m)
	},
	"other-receipt": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if c, ok := m.(*protocol.Committed); ok {
			c.Receipt.Snapshot[0] ^= 1
		}
		return one(m)
	},
	"head-of-another": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if o, ok := m.(*protocol.Opened); ok && o.Standing.Seq > 0 {
			o.Standing.Head[0] ^= 1
		}
		return one(m)
	},
	"head-rewound": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if o, ok := m.(*protocol.Opened); ok {
			o.Standing.Seq, o.Standing.Head, o.Standing.Based = 0, object.ID{}, false
		}
		return one(m)
	},
	"swapped-objects": func(l *hostileStore, m protocol.Message) []protocol.Message {
		o, ok := m.(*protocol.Object)
		switch {
		case !ok:
			return append(l.release(), m)
		case o.Record.Kind.Class() != object.ClassContent:
			return one(m)
		case len(l.objects) == 0:
			l.objects = append(l.objects, o)
			return nil
		}
		other := l.objects[0]
		o.Record.Sealed, other.Record.Sealed = other.Record.Sealed, o.Record.Sealed
		o.Record.Key, other.Record.Key = other.Record.Key, o.Record.Key
		l.objects = nil
		return []protocol.Message{other, o}
	},
	"changed-content":   change(func(r *object.Record) bool { return r.Kind.Class() == object.ClassContent }),
	"changed-directory": change(func(r *object.Record) bool { return r.Kind == object.KindDir }),
	"changed-key":       change(func(r *object.Record) bool { return r.Kind == object.KindKey }),
	"cut-refs": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if o, ok := m.(*protocol.Object); ok && len(o.Record.Refs) > 0 {
			o.Record.Refs = o.Record.Refs[:len(o.Record.Refs)-1]
		}
		return one(m)
	},
	"objects-held-back": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if o, ok := m.(*protocol.Object); ok && o.Record.Kind.Class() == object.ClassContent {
			return nil
		}
		return one(m)
	},
	"objects-missing": func(l *hostileStore, m protocol.Message) []protocol.Message {
		if o, ok := m.(*protocol.Object); ok && o.Record.Kind.Class() == object.ClassContent {
			l.objects = append(l.objects, o)
			return nil
		}
		if d, ok := m.(*protocol.Bare); ok && d.Kind == protocol.TypeDone && len(l.objects) > 0 {
			e := &protocol.Error{Number: d.Number, Code: object.CodeMissing}
			for _, o := range l.objects {
				e.Missing = append(e.Missing, o.Record.ID)
			}
			l.objects = nil
			return one(e)
		}
		return one(m)
	},
	"object-twice": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if o, ok := m.(*protocol.Object); ok && o.Record.Kind.Class() == object.ClassContent {
			return []protocol.Message{m, m}
		}
		return one(m)
	},
	"endless-directories": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if o, ok := m.(*protocol.Object); ok && o.Record.Kind == object.KindDir {
			return slices.Repeat(one(m), 100_000)
		}
		return one(m)
	},
	"endless-snapshots": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if _, ok := m.(*protocol.Snapshot); ok {
			return slices.Repeat(one(m), protocol.MaxListed) // and there are more of them
		}
		return one(m)
	},
	"snapshot-forged": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if s, ok := m.(*protocol.Snapshot); ok {
			s.Snapshot.Manifest.Time++
		}
		return one(m)
	},
	"snapshot-with-other-root": func(l *hostileStore, m protocol.Message) []protocol.Message {
		if s, ok := m.(*protocol.Snapshot); ok {
			if l.last != nil {
				s.Snapshot.Manifest.Root = l.last.Snapshot.Manifest.Root
			}
			l.last = s
		}
		return one(m)
	},
	"newest-withheld": func(l *hostileStore, m protocol.Message) []protocol.Message {
		s, ok := m.(*protocol.Snapshot)
		if !ok {
			l.last = nil
			return one(m)
		}
		before := l.last
		if l.last = s; before == nil {
			return nil
		}
		return one(before)
	},
	"middle-withheld": func(l *hostileStore, m protocol.Message) []protocol.Message {
		if s, ok := m.(*protocol.Snapshot); ok && s.Snapshot.Manifest.Seq == 2 {
			return nil
		}
		return one(m)
	},
	"escape-sequences": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if d, ok := m.(*protocol.Bare); ok && d.Kind == protocol.TypeDone {
			return one(&protocol.Error{Number: d.Number, Code: object.CodeDamaged, Detail: "\x1b[2J\x1b]0;owned\x07all is well\r\nreally"})
		}
		return one(m)
	},
	"future-version": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if w, ok := m.(*protocol.Welcome); ok {
			w.Version = 9
		}
		return one(m)
	},
	"hangs-up": func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if o, ok := m.(*protocol.Object); ok && o.Record.Kind.Class() == object.ClassContent {
			os.Exit(0)
		}
		return one(m)
	},
	// The two that follow also change what the store hears; see upward.
	"swallows-commit": func(l *hostileStore, m protocol.Message) []protocol.Message {
		if d, ok := m.(*protocol.Bare); ok && l.commit != nil && d.Number == l.commit.Number {
			r := object.Receipt{Snapshot: l.commit.Manifest.ID(), Received: l.commit.Manifest.Time}
			return one(&protocol.Committed{Number: d.Number, Receipt: r})
		}
		return one(m)
	},
	"swallows-content": func(l *hostileStore, m protocol.Message) []protocol.Message {
		if e, ok := m.(*protocol.Error); ok && e.Code == object.CodeMissing && l.commit != nil {
			r := object.Receipt{Snapshot: l.commit.Manifest.ID(), Received: l.commit.Manifest.Time}
			return one(&protocol.Committed{Number: e.Number, Receipt: r})
		}
		return one(m)
	},
}

// change flips a bit of the sealed bytes of the records that are meant, and
// mends their checksum, which holds against rot and not against people.
func change(meant func(*object.Record) bool) lie {
	return func(_ *hostileStore, m protocol.Message) []protocol.Message {
		if o, ok := m.(*protocol.Object); ok && meant(o.Record) {
			o.Record.Sealed[len(o.Record.Sealed)/2] ^= 1
			if o.Record.Kind == object.KindKey {
				o.Record.ID = object.HashID(o.Record.Sealed)
			}
		}
		return one(m)
	}
}

// release gives up what was held back.
func (l *hostileStore) release() (all []protocol.Message) {
	for _, o := range l.objects {
		all = append(all, o)
	}
	l.objects = nil
	return all
}

// upward changes what the store hears.
func (l *hostileStore) upward(name string, m protocol.Message) protocol.Message {
	switch m := m.(type) {
	case *protocol.Put:
		l.puts++
		if name == "swallows-content" && m.Record.Kind.Class() == object.ClassContent {
			l.dropped++
			return nil
		}
	case *protocol.Commit:
		l.commit = m
		if name == "swallows-commit" {
			return &protocol.Bare{Kind: protocol.TypeCheckpoint, Number: m.Number}
		}
	}
	return m
}

// hostile is the liar's main.
func hostile() {
	name, dir := os.Args[1], os.Args[2]
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(context.Background(), far, server.Disks{}, server.Options{Repository: dir}, "hostile")
	}()
	l := new(hostileStore)
	go func() {
		_ = relay(near, os.Stdin, func(m protocol.Message) []protocol.Message {
			l.mu.Lock()
			defer l.mu.Unlock()
			if m = l.upward(name, m); m == nil {
				return nil
			}
			return one(m)
		})
		near.Close()
	}()
	if err := relay(os.Stdout, near, func(m protocol.Message) []protocol.Message {
		l.mu.Lock()
		defer l.mu.Unlock()
		return lies[name](l, m)
	}); err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
	}
	os.Stdout.Close()
	near.Close()
	<-done
}

// relay passes messages on, and the preamble before them.
func relay(to io.Writer, from io.Reader, edit func(protocol.Message) []protocol.Message) error {
	if _, err := io.CopyN(to, from, int64(len(protocol.Preamble))); err != nil {
		return err
	}
	for {
		h, err := protocol.ReadHeader(from)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
			return nil
		}
		if err != nil {
			return err
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(from, payload); err != nil {
			return err
		}
		m, err := protocol.Unmarshal(h.Type, payload)
		if err != nil {
			return err
		}
		var last protocol.Message
		var bytes []byte
		for _, m := range edit(m) {
			if m != last { // some lies are the same message a million times
				last, bytes = m, frame(m)
			}
			if _, err := to.Write(bytes); err != nil {
				return nil // the victim has had enough
			}
		}
	}
}
