package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/storetest"
)

// maxServer is how much anonymous memory a server may have, whatever a client
// sends. The test binary is the program and the tests, with what the race
// detector adds where it is on.
const maxServer = 300 << 20

// floodAttacks try to use up the store.
var floodAttacks = []attack{
	{"tiny-objects", func(t *testing.T, w *world) {
		s := w.open(t, "web1")
		u := storetest.NewUpload("web1", uint64(time.Now().UnixNano()))
		w.puts(t, s, u.Metadata, u.Content)
		for range 50_000 {
			w.puts(t, s, u.Object(object.KindChunk, 1))
		}
		if err := s.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.modest(t)
	}},
	{"largest-objects", func(t *testing.T, w *world) {
		s := w.open(t, "web1")
		u := storetest.NewUpload("web1", uint64(time.Now().UnixNano()))
		w.puts(t, s, u.Metadata, u.Content)
		refs := make([]object.ID, object.MaxRefs)
		for i := range refs {
			refs[i] = object.ID{1, byte(i), byte(i >> 8), byte(i >> 16)}
		}
		for range 4 {
			w.puts(t, s, u.Object(object.KindDir, object.MaxSealed, refs...))
		}
		if err := s.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.modest(t)
	}},
	{"too-large-object", func(t *testing.T, w *world) {
		link := w.link(t, "web1")
		sent := append([]byte("PNBwire\x01"), w.hello()...)
		sent = append(sent, w.openFrame()...)
		n := object.MaxRecord + 1
		if _, err := link.Write(append(sent, byte(n>>24), byte(n>>16), byte(n>>8), byte(n), byte(protocol.TypePut))); err != nil {
			t.Fatal(err)
		}
		if e, err := w.until(link, 0); err != nil || e.Code != object.CodeMalformed {
			t.Errorf("got %+v, %v; want code %d", e, err, object.CodeMalformed)
		}
	}},
	{"wide-and-deep-refs", func(t *testing.T, w *world) {
		// A chain of directories, and a ring, which a store must not walk for ever.
		s := w.open(t, "web1")
		u := storetest.NewUpload("web1", uint64(time.Now().UnixNano()))
		w.puts(t, s, u.Metadata, u.Content)
		last := u.Object(object.KindDir, 1)
		w.puts(t, s, last)
		for range 20_000 {
			next := u.Object(object.KindDir, 1, last.ID)
			w.puts(t, s, next)
			last = next
		}
		a, b := u.Object(object.KindDir, 1), u.Object(object.KindDir, 1)
		a.Refs, b.Refs = []object.ID{b.ID, last.ID}, []object.ID{a.ID}
		w.puts(t, s, a, b)
		_, err := w.commit(t, s, u, a.ID)
		if err != nil {
			t.Logf("refused: %v", err)
		}
		w.modest(t)
	}},
	{"questions", func(t *testing.T, w *world) {
		s := w.open(t, "web1")
		ids := make([]object.ID, protocol.MaxHave)
		for i := range ids {
			ids[i] = object.ID{2, byte(i), byte(i >> 8)}
		}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := s.Have(t.Context(), ids); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		w.modest(t)
	}},
	{"answers-nobody-reads", func(t *testing.T, w *world) {
		link := w.link(t, "web1")
		go func() {
			_, _ = link.Write(append([]byte("PNBwire\x01"), w.hello()...))
			for n := uint32(1); ; n++ {
				if _, err := link.Write(frame(&protocol.List{Kind: protocol.TypeSnapshots, Number: n, Window: 1})); err != nil {
					return
				}
			}
		}()
		w.backup(t, "web2")
		w.modest(t)
		start := time.Now()
		link.Close()
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("the connection took %v to end", took)
		}
	}},
	{"slow-loris", func(t *testing.T, w *world) {
		w.force(t, "loris", w.program+" serve --repo "+w.repo+" --write-only --client web1 --idle-timeout 1s")
		link := w.link(t, "loris")
		sent := append([]byte("PNBwire\x01"), w.hello()...)
		if _, err := link.Write(append(append(sent, w.openFrame()...), 0, 0x80, 0, 0, byte(protocol.TypePut))); err != nil {
			t.Fatal(err)
		}
		hung := make(chan struct{})
		go func() {
			defer close(hung)
			for {
				if _, err := readMessage(link); err != nil {
					return
				}
			}
		}()
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for start := time.Now(); ; {
			select {
			case <-hung:
				return
			case <-tick.C:
				_, _ = link.Write([]byte{0}) // fails once the server has hung up
			}
			if time.Since(start) > 20*time.Second {
				t.Fatal("the server still listens")
			}
		}
	}},
	{"hundred-sessions", func(t *testing.T, w *world) {
		const many = 100
		var wg sync.WaitGroup
		results := make(chan error, many)
		release := make(chan struct{})
		for range many {
			wg.Go(func() {
				link, err := w.dial(t, "web1")
				if err != nil {
					results <- err
					return
				}
				defer link.Close()
				conn, err := client.Connect(context.WithoutCancel(t.Context()), link, client.Greeting{})
				if err != nil {
					results <- err
					return
				}
				defer conn.Close()
				s, err := conn.OpenSession(context.WithoutCancel(t.Context()), "web1", "default", object.ID{})
				results <- err
				<-release
				if err == nil {
					_ = s.Close()
				}
			})
		}
		opened := 0
		for range many {
			err := <-results
			switch {
			case err == nil:
				opened++
			case errors.Is(err, object.CodeBusy):
			default:
				t.Errorf("OpenSession: %v", err)
			}
		}
		if opened > 4 {
			t.Errorf("%d sessions of one client are open, want at most 4", opened)
		}
		w.backup(t, "web2")
		close(release)
		wg.Wait()
	}},
	{"endless-session", func(t *testing.T, w *world) {
		// An upload that stays open while everybody else goes on.
		s := w.open(t, "web1")
		w.upload(t, s, uint64(time.Now().UnixNano()), nil)
		if err := s.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.backup(t, "web2")
		w.must(t, "store", "prune", "-r", w.repo)
		w.must(t, "store", "check", "-r", w.repo)
	}},
	{"many-dead-uploads", func(t *testing.T, w *world) {
		for i := range 10 {
			w.upload(t, w.open(t, "web1"), uint64(i+1000), nil)
			for _, pid := range w.servers() {
				var n int
				fmt.Sscan(pid, &n)
				_ = syscall.Kill(n, syscall.SIGKILL) // as when the connection's machine dies
			}
			w.gone(t)
		}
	}},
	{"over-quota", func(t *testing.T, w *world) {
		w.force(t, "poor", w.program+" serve --repo "+w.repo+" --write-only --client web3 --quota 300K")
		conn := w.connect(t, "poor")
		var err error
		for range 2 { // one session after the other, and two at once
			var s, other *client.Session
			if s, err = conn.OpenSession(t.Context(), "web3", "default", object.ID{}); err != nil {
				t.Fatal(err)
			}
			if other, err = w.connect(t, "poor").OpenSession(t.Context(), "web3", "another", object.ID{}); err != nil {
				t.Fatal(err)
			}
			u := storetest.NewUpload("web3", uint64(time.Now().UnixNano()))
			var sent int
			for range 100 {
				for _, one := range []*client.Session{s, other} {
					if err = errors.Join(one.Put(t.Context(), u.Object(object.KindChunk, 10_000)), one.Checkpoint(t.Context())); err == nil {
						sent += 10_000
					}
				}
			}
			refused(t, "Put over the quota", err, object.CodeQuota)
			if sent > 300<<10 {
				t.Errorf("%d bytes were taken, the quota is %d", sent, 300<<10)
			}
			if err := errors.Join(s.Close(), other.Close()); err != nil {
				t.Error(err)
			}
		}
	}},
	{"full-disk", func(t *testing.T, w *world) { w.fullDisk(t) }},
}

// modest checks that no server has grown large.
func (w *world) modest(t *testing.T) {
	t.Helper()
	if got := w.memory(t); got > maxServer {
		t.Errorf("a server has %d MiB of anonymous memory, want at most %d", got>>20, maxServer>>20)
	}
}

// fullDisk fills a small disk through a write-only connection.
func (w *world) fullDisk(t *testing.T) {
	t.Helper()
	disk := filepath.Join(w.dir, "store", "disk")
	if err := os.MkdirAll(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, stderr, status := w.exec(t, "store", "mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", disk); status != 0 {
		t.Skipf("no small disk can be made here: %s", stderr)
	}
	defer w.exec(t, "store", "umount", "-l", disk)
	dir := filepath.Join(disk, "repo")
	w.must(t, "store", "init", "-r", dir)
	w.force(t, "filler", w.program+" serve --repo "+dir+" --write-only --client web1")
	flags := append(w.remote("filler"), "backup", "-q", "-k", w.file("web1", "send.key"), w.file("web1", "tree"))
	w.must(t, "web1", flags...)
	before := w.must(t, "store", "snapshots", "--json", "-r", dir)
	s, err := w.connect(t, "filler").OpenSession(t.Context(), "web1", "default", object.ID{})
	if err != nil {
		t.Fatal(err)
	}
	u := storetest.NewUpload("web1", 1)
	for err == nil {
		err = errors.Join(s.Put(t.Context(), u.Object(object.KindChunk, 1<<20)), s.Checkpoint(t.Context()))
	}
	refused(t, "Put on a full disk", err, object.CodeNoSpace)
	if err := s.Close(); err != nil {
		t.Logf("closing the session: %v", err)
	}
	if after := w.must(t, "store", "snapshots", "--json", "-r", dir); after != before {
		t.Errorf("the snapshots on the full disk are\n%s\nwant\n%s", after, before)
	}
	w.must(t, "store", "check", "--read-data", "-r", dir)
}
