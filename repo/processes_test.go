package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/storetest"
)

// uploaderVariable makes the test program one of the processes of
// TestProcesses: its value is folder, job and number of commits.
const uploaderVariable = "PACKNBACK_TEST_UPLOADER"

func TestMain(m *testing.M) {
	if v := os.Getenv(uploaderVariable); v != "" {
		if err := uploaderProcess(strings.Split(v, "|")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// uploaderProcess commits snapshots of one job and prints each id once it was
// told so.
func uploaderProcess(args []string) error {
	ctx := context.Background()
	dir, job := args[0], args[1]
	commits, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	r, err := Open(ctx, dir)
	if err != nil {
		return err
	}
	defer r.Close()
	for range commits {
		err := uploadOnce(ctx, r, job)
		if errors.Is(err, object.CodeHeadMoved) {
			continue // the other process of this job was faster
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// uploadOnce commits a tree of new files that also holds the job's head.
func uploadOnce(ctx context.Context, r *Repository, job string) error {
	s, err := r.OpenSession(ctx, SessionRequest{Client: "web1", Job: job})
	if errors.Is(err, object.CodeBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	err = uploadTo(ctx, r, s, job)
	return errors.Join(err, s.Close())
}

func uploadTo(ctx context.Context, r *Repository, s *Session, job string) error {
	u := storetest.NewUpload("web1", rand.Uint64())
	tree := u.Tree(20, 500, 6)
	refs := []object.ID{tree[len(tree)-1].ID}
	if st := s.Standing(); st.Seq > 0 {
		before, err := r.Snapshot(ctx, st.Head)
		if err != nil {
			return err
		}
		refs = append(refs, before.Manifest.Root)
	}
	root := u.Object(object.KindDir, 50, refs...)
	for i, rec := range append([]*object.Record{u.Metadata, u.Content}, append(tree, root)...) {
		if err := s.Put(ctx, rec); err != nil {
			return err
		}
		if i == 10 {
			if err := s.Checkpoint(ctx); err != nil {
				return err
			}
		}
	}
	m, sealed := u.Manifest(s.Standing(), "web1", job, root.ID)
	receipt, err := s.Commit(ctx, m, sealed)
	if err != nil {
		return err
	}
	fmt.Println(receipt.Snapshot)
	return nil
}

// TestProcesses runs processes of the real program's kind on one repository of
// the real file system, two for each job, and kills some of them all the time.
// What any of them was told is committed must be there, whole, in an unbroken
// chain.
func TestProcesses(t *testing.T) {
	dir := t.TempDir()
	r, err := Init(t.Context(), dir, InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	told := make(chan string, 1000) // bounded by the commits below
	var g errgroup.Group
	for i := range 6 {
		job := fmt.Sprintf("job%d", i/2)
		g.Go(func() error { return runUploaders(t, dir, job, i%2 == 1, told) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	close(told)
	there := map[string]bool{}
	heads := map[string]*object.Manifest{}
	err = r.Snapshots(t.Context(), func(s *object.Snapshot) error {
		there[s.ID().String()] = true
		m := s.Manifest
		if last := heads[m.Job]; last != nil && (m.Seq != last.Seq+1 || m.Prev != last.ID()) {
			t.Errorf("snapshot %d of %s follows number %d", m.Seq, m.Job, last.Seq)
		}
		heads[m.Job] = m
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for id := range told {
		n++
		if !there[id] {
			t.Errorf("snapshot %s was acknowledged and isn't there", id)
		}
	}
	if n < 5 {
		t.Errorf("only %d commits were acknowledged", n)
	}
	for _, p := range problems(t, r) {
		t.Errorf("check: %+v", p)
	}
}

// runUploaders runs several processes of a job one after the other. Those that
// are to be killed are, at a time of their own.
func runUploaders(t *testing.T, dir, job string, kill bool, told chan<- string) error {
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%d", uploaderVariable, dir, job, 5))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		var timer *time.Timer
		if kill {
			timer = time.AfterFunc(time.Duration(20+rand.IntN(300))*time.Millisecond, func() { cmd.Process.Kill() })
		}
		b, err := io.ReadAll(out)
		if err != nil {
			return err
		}
		err = cmd.Wait()
		if timer != nil {
			timer.Stop()
		} else if err != nil {
			t.Errorf("a process of %s: %v", job, err)
		}
		for id := range strings.Lines(string(b)) {
			if strings.HasSuffix(id, "\n") {
				told <- strings.TrimSpace(id)
			}
		}
	}
	return nil
}
