package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/protocol/transport"
	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
)

// dialer connects to repositories on this machine's disk through pipes, each
// connection with a server of its own.
type dialer struct {
	t     *testing.T
	dir   string
	dials int
	cut   func() // breaks the newest connection
	done  sync.WaitGroup
}

func (d *dialer) dial(ctx context.Context) (*client.Conn, error) {
	d.dials++
	ours, theirs := net.Pipe()
	d.cut = func() { theirs.Close() }
	d.done.Go(func() {
		// A connection that a test breaks ends with an error, as it must.
		_ = server.Serve(ctx, theirs, server.Disks{}, server.Options{Repository: d.dir}, "test")
	})
	return client.Connect(ctx, ours, client.Greeting{Program: "test"})
}

func newDialer(t *testing.T) *dialer {
	t.Helper()
	d := &dialer{t: t, dir: filepath.Join(t.TempDir(), "repo")}
	r, err := repo.Init(context.Background(), d.dir, repo.InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.done.Wait)
	return d
}

func (d *dialer) connect() *remoteStore {
	d.t.Helper()
	conn, err := d.dial(context.Background())
	if err != nil {
		d.t.Fatal(err)
	}
	return &remoteStore{dial: d.dial, id: conn.ID(), conn: conn}
}

// TestASilentFarSideIsEnded starts something in ssh's place that takes what it
// gets and says nothing: it is given up, and its process is gone.
func TestASilentFarSideIsEnded(t *testing.T) {
	dir := t.TempDir()
	fifo, program := filepath.Join(dir, "pid"), filepath.Join(dir, "ssh")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho $$ >%s\nexec cat >/dev/null\n", fifo)
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	link, err := transport.Dial(t.Context(), transport.Location{Host: "store"}, transport.Options{Command: program, Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(fifo)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Connect(t.Context(), link, client.Greeting{Patience: time.Millisecond})
	var silent *client.SilenceError
	if !errors.As(err, &silent) {
		t.Errorf("got %v, want a *client.SilenceError", err)
	}
	if hint := hintFor(err); !strings.Contains(hint, "BatchMode") {
		t.Errorf("the hint is %q", hint)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("its process: %v, want it gone", err)
	}
}

func TestRemoteStoreReconnects(t *testing.T) {
	d := newDialer(t)
	s := d.connect()
	defer s.Close()
	req := repo.SessionRequest{Client: "web1", Job: "default"}
	up, err := s.openSession(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	d.cut()
	if err := up.Checkpoint(context.Background()); !errors.Is(err, object.CodeInterrupted) {
		t.Errorf("a checkpoint on a connection that broke: %v, want the connection to be lost", err)
	}
	up.Close()
	again, err := s.openSession(context.Background(), req)
	if err != nil {
		t.Fatalf("the next session after that: %v", err)
	}
	if d.dials != 2 {
		t.Errorf("%d connections, want 2", d.dials)
	}
	if got := again.Standing().Repository; got != s.ID() {
		t.Errorf("the new session is with repository %s, want %s", got, s.ID())
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.openSession(context.Background(), req); err != nil || d.dials != 2 {
		t.Errorf("a session after one that ended in order: %v, %d connections, want the same one used", err, d.dials)
	}
}

func TestRemoteStoreNoticesAnotherRepository(t *testing.T) {
	d := newDialer(t)
	s := d.connect()
	defer s.Close()
	d.cut()
	d.dir = newDialer(t).dir
	_, err := s.openSession(context.Background(), repo.SessionRequest{Client: "web1", Job: "default"})
	if !errors.Is(err, object.CodeDamaged) {
		t.Errorf("a session with another repository in the old one's place: %v, want it refused", err)
	}
}

// The figures and settings that cross the wire are those of the repository.
func TestRemoteStoreKeeps(t *testing.T) {
	d := newDialer(t)
	far := d.connect()
	defer far.Close()
	r, err := repo.Open(context.Background(), d.dir)
	if err != nil {
		t.Fatal(err)
	}
	near := localStore{r}
	defer near.Close()
	ctx := context.Background()
	for _, s := range []store{near, far} {
		if err := s.SetSetting(ctx, "grace", "5d"); err != nil {
			t.Fatalf("%T: %v", s, err)
		}
		list, err := s.Settings(ctx)
		if err != nil || len(list) == 0 || list[0] != (repo.Setting{Key: "grace", Value: "5d", Doc: list[0].Doc}) {
			t.Errorf("%T: settings %v, %v", s, list, err)
		}
		result, err := s.Check(ctx, repo.CheckOptions{ReadData: true}, func(pr repo.Problem) { t.Errorf("%T: %v", s, pr) })
		if err != nil || result.Problems != 0 {
			t.Errorf("%T: check: %v, %v", s, result, err)
		}
		if _, err := s.RepairIndex(ctx, func(pr repo.Problem) { t.Errorf("%T: %v", s, pr) }); err != nil {
			t.Errorf("%T: repair index: %v", s, err)
		}
	}
	a, err := near.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b, err := far.Stats(ctx)
	a.Free, b.Free = 0, 0 // others use the disk, too
	if err != nil || a != b || a.Total == 0 {
		t.Errorf("figures: near %+v, far %+v, %v", a, b, err)
	}
}

func TestLocation(t *testing.T) {
	for _, c := range []struct {
		repository string
		want       transport.Location
		status     int
	}{
		{"", transport.Location{}, statusUsage},
		{"/srv/repo", transport.Location{Path: "/srv/repo"}, 0},
		{"./host:path", transport.Location{Path: "./host:path"}, 0},
		{"me@host:path", transport.Location{User: "me", Host: "host", Path: "path"}, 0},
		{"ssh://me@host:22/p", transport.Location{User: "me", Host: "host", Port: 22, Path: "/p"}, 0},
		{"-oProxyCommand=x:p", transport.Location{}, statusUsage},
		{"ssh://-x/p", transport.Location{}, statusUsage},
	} {
		p := &program{globals: globals{repository: c.repository}}
		got, err := p.location()
		if status := exitStatus(err); err != nil && status != c.status || err == nil && (got != c.want || c.status != 0) {
			t.Errorf("%q: got %+v, %v, want %+v with status %d", c.repository, got, err, c.want, c.status)
		}
	}
}
