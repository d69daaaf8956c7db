package repo_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/object"
)

var (
	tortureCommits = flag.Int("torture.commits", 2000, "snapshots that TestTorture commits; scripts/torture raises it")
	tortureTime    = flag.Duration("torture.time", 4*time.Minute, "after which TestTorture stops and demands only what was done")
	tortureAll     = flag.Bool("torture.all", false, "fail unless all of torture.commits were made in time")
	tortureSeed    = flag.Uint64("torture.seed", 0, "seed of TestTorture; 0: a new one")
)

// roleVariable tells a copy of the test program that it is one of TestTorture's
// processes, and which.
const roleVariable = "PACKNBACK_TORTURE"

// tortureRoles are the processes: uploads of two jobs of one client, of another
// client, and two processes that fight over one job.
var tortureRoles = []string{"upload a/x", "upload a/y", "upload b/x", "upload b/x", "forget", "prune", "restore"}

// torture is TestTorture under way, in the process that starts the others.
type torture struct {
	t   *testing.T
	dir string
	rng *rand.Rand

	commits, pruned, restored, kills atomic.Int64

	mu     sync.Mutex
	acked  map[object.ID]bool // their senders were told that they are safe
	forgot map[object.ID]bool // somebody was about to forget them
	failed []string
}

// TestTorture lets processes upload, forget, prune and restore at once on one
// repository, kills them at any moment, and then wants every snapshot whole that
// was acknowledged and not forgotten, and nothing left behind.
func TestTorture(t *testing.T) {
	if role := os.Getenv(roleVariable); role != "" {
		playRole(role)
		return
	}
	if testing.Short() || raceDetector {
		*tortureCommits = min(*tortureCommits, 200)
	}
	seed := *tortureSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	w := &torture{t: t, dir: filepath.Join(t.TempDir(), "repo"), rng: rand.New(rand.NewPCG(seed, 1)),
		acked: map[object.ID]bool{}, forgot: map[object.ID]bool{}}
	r, err := repo.Init(t.Context(), w.dir, repo.InitOptions{Settings: map[string]string{"min-age": "0s"}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, stop := context.WithTimeout(t.Context(), *tortureTime)
	var all sync.WaitGroup
	for i, role := range tortureRoles {
		seed := w.rng.Uint64()
		all.Go(func() { w.keepRunning(ctx, role, i, rand.New(rand.NewPCG(seed, 2))) })
	}
	for ctx.Err() == nil && w.commits.Load() < int64(*tortureCommits) && !w.broken() {
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	all.Wait()
	t.Logf("%d commits, %d prunes, %d restores, %d kills", w.commits.Load(), w.pruned.Load(), w.restored.Load(), w.kills.Load())
	if *tortureAll && w.commits.Load() < int64(*tortureCommits) {
		t.Errorf("only %d of %d commits in %s", w.commits.Load(), *tortureCommits, *tortureTime)
	}
	for _, f := range w.failed {
		t.Error(f)
	}
	w.wantWhole(r)
}

func (w *torture) broken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.failed) > 0
}

func (w *torture) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.failed) < 10 {
		w.failed = append(w.failed, fmt.Sprintf(format, args...))
	}
}

// keepRunning runs one role again and again, and kills it again and again.
func (w *torture) keepRunning(ctx context.Context, role string, number int, rng *rand.Rand) {
	for ctx.Err() == nil {
		if err := w.runOnce(ctx, role, number, rng); err != nil {
			w.fail("%s: %v", role, err)
			return
		}
	}
}

func (w *torture) runOnce(ctx context.Context, role string, number int, rng *rand.Rand) error {
	cmd := exec.Command(os.Args[0], "-test.run=^TestTorture$")
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "PACKNBACK_TORTURE_REPO="+w.dir,
		fmt.Sprintf("PACKNBACK_TORTURE_SEED=%d", rng.Uint64()))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	killed := make(chan struct{})
	ended := make(chan struct{})
	// Mostly short lives: most of what can go wrong does so at the beginning of a
	// step or at its end.
	life := time.Duration(50+rng.IntN(1500)) * time.Millisecond
	if rng.IntN(4) == 0 {
		life *= 4
	}
	go func() {
		defer close(killed)
		timer := time.NewTimer(life)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-ended:
			return
		}
		w.kills.Add(1)
		cmd.Process.Kill()
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		w.heard(role, lines.Text())
	}
	close(ended)
	<-killed
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == -1 {
		return nil // by the signal
	}
	return err
}

// heard takes one line that a process has written.
func (w *torture) heard(role, line string) {
	word, rest, _ := strings.Cut(line, " ")
	w.mu.Lock()
	defer w.mu.Unlock()
	switch word {
	case "committed", "forgetting":
		id, err := object.ParseID(rest)
		if err != nil {
			w.failed = append(w.failed, fmt.Sprintf("%s said %q", role, line))
			return
		}
		if word == "committed" {
			w.commits.Add(1)
			w.acked[id] = true
		} else {
			w.forgot[id] = true
		}
	case "pruned":
		w.pruned.Add(1)
	case "restored":
		w.restored.Add(1)
	case "FAILED":
		w.failed = append(w.failed, role+": "+rest)
	}
}

// wantWhole lets every cut upload come to its end, prunes once more, and looks
// at everything.
func (w *torture) wantWhole(r *repo.Repository) {
	t := w.t
	ctx := t.Context()
	rng := rand.New(rand.NewPCG(99, 3))
	for _, job := range []string{"a/x", "a/y", "b/x"} {
		client, name, _ := strings.Cut(job, "/")
		id, err := uploadOnce(ctx, r, client, name, rng)
		if err != nil {
			t.Errorf("the last upload of %s: %v", job, err)
			continue
		}
		w.acked[id] = true
	}
	for range 2 { // the first may have to finish what a killed one began
		if _, err := r.Prune(ctx, repo.PruneOptions{Grace: -1, MaxUnused: -1, Yes: true}); err != nil {
			t.Fatalf("the last prune: %v", err)
		}
	}
	again, err := r.Prune(ctx, repo.PruneOptions{Grace: -1, MaxUnused: -1, Yes: true})
	if err != nil || again.BytesFreed != 0 || again.ObjectsDeleted != 0 || again.Strays != 0 {
		t.Errorf("a prune after the last found something to do: %+v, %v", again, err)
	}
	result, err := r.Check(ctx, repo.CheckOptions{ReadData: true}, func(p repo.Problem) {
		t.Errorf("check: %s %s %s: %s", p.What, p.Name, p.ID.Short(), p.Detail)
	})
	if err != nil {
		t.Errorf("check: %v", err)
	}
	live := map[object.ID]*object.Snapshot{}
	if err := r.Snapshots(ctx, func(s *object.Snapshot) error { live[s.ID()] = s; return nil }); err != nil {
		t.Error(err)
	}
	for id := range w.acked {
		if !w.forgot[id] && live[id] == nil {
			t.Errorf("snapshot %s was acknowledged, and is gone", id.Short())
		}
	}
	needed := map[object.ID]int{}
	for id, s := range live {
		if err := restore(ctx, r, s, needed); err != nil {
			t.Errorf("snapshot %s: %v", id.Short(), err)
		}
	}
	bytes := 0
	for _, n := range needed {
		bytes += n
	}
	t.Logf("%d snapshots of %d objects, %d bytes", len(live), len(needed), bytes)
	if result.Objects != uint64(len(needed)) {
		t.Errorf("%d objects are stored, %d are needed", result.Objects, len(needed))
	}
	w.wantTidy(r, bytes)
}

// wantTidy looks for what should have been removed.
func (w *torture) wantTidy(r *repo.Repository, needed int) {
	var left []string
	packs, size := 0, int64(0)
	err := filepath.WalkDir(w.dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		below, err := filepath.Rel(w.dir, name)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch folder, _, _ := strings.Cut(below, "/"); {
		case folder == "packs":
			packs++
			size += info.Size()
		case folder == "sessions", folder == "tmp", folder == "trash", strings.HasSuffix(below, ".new"),
			strings.HasSuffix(below, ".list"):
			left = append(left, below)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(left) > 0 {
		w.t.Errorf("left behind: %q", left)
	}
	stats, err := r.Stats(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if stats.Packs != uint64(packs) {
		w.t.Errorf("there are %d packs, CURRENT knows of %d", packs, stats.Packs)
	}
	if want := int64(needed) + int64(packs)*64; size != want {
		w.t.Errorf("the packs have %d bytes, what is needed takes %d", size, want)
	}
	segments, err := os.ReadDir(filepath.Join(w.dir, "index"))
	if err != nil || uint64(len(segments)) != stats.Segments {
		w.t.Errorf("there are %d files in index, CURRENT knows of %d (%v)", len(segments), stats.Segments, err)
	}
}

// restore reads all of a snapshot, checks every object against its id, and adds
// their sizes to needed.
func restore(ctx context.Context, r *repo.Repository, s *object.Snapshot, needed map[object.ID]int) error {
	wanted := map[object.ID]bool{s.Manifest.MetadataKey: true, s.Manifest.ContentKey: true}
	got := func(rec *object.Record) error {
		needed[rec.ID] = rec.Size()
		if !rec.Key.IsZero() {
			wanted[rec.Key] = true
		}
		for _, ref := range rec.Refs {
			wanted[ref] = true
		}
		return checkMadeUp(rec)
	}
	if err := r.Push(ctx, s.Manifest.Root, got); err != nil {
		return fmt.Errorf("push: %w", err)
	}
	for len(wanted) > 0 {
		var ids []object.ID
		for id := range wanted {
			if needed[id] == 0 {
				ids = append(ids, id)
			}
		}
		clear(wanted)
		if err := r.Fetch(ctx, ids, got); err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		maps.DeleteFunc(wanted, func(id object.ID, _ bool) bool { return needed[id] > 0 })
	}
	return nil
}

// The rest is what the processes do.

// playRole does its work until it is killed. What it has to say goes to standard
// output, one write for each line.
func playRole(role string) {
	seed, err := strconv.ParseUint(os.Getenv("PACKNBACK_TORTURE_SEED"), 10, 64)
	if err != nil {
		say("FAILED %v", err)
		return
	}
	rng := rand.New(rand.NewPCG(seed, 4))
	ctx := context.Background()
	r, err := repo.Open(ctx, os.Getenv("PACKNBACK_TORTURE_REPO"))
	if err != nil {
		say("FAILED opening: %v", err)
		return
	}
	word, job, _ := strings.Cut(role, " ")
	work := map[string]func() error{
		"upload":  func() error { return playUpload(ctx, r, job, rng) },
		"forget":  func() error { return playForget(ctx, r, rng) },
		"prune":   func() error { return playPrune(ctx, r, rng) },
		"restore": func() error { return playRestore(ctx, r, rng) },
	}[word]
	for range 100_000 {
		if err := work(); err != nil {
			say("FAILED %v", err)
			return
		}
	}
}

func say(format string, args ...any) {
	line := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")
	os.Stdout.WriteString(line + "\n")
}

func playUpload(ctx context.Context, r *repo.Repository, job string, rng *rand.Rand) error {
	client, name, _ := strings.Cut(job, "/")
	id, err := uploadOnce(ctx, r, client, name, rng)
	switch {
	case err == nil:
		say("committed %s", id)
	case errors.Is(err, object.CodeHeadMoved), errors.Is(err, object.CodeMissing), errors.Is(err, object.CodeBusy):
		say("refused %v", err)
		return nil
	}
	return err
}

func playForget(ctx context.Context, r *repo.Repository, rng *rand.Rand) error {
	time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
	var ids []object.ID
	if err := r.Snapshots(ctx, func(s *object.Snapshot) error { ids = append(ids, s.ID()); return nil }); err != nil {
		return err
	}
	keep := 5 + rng.IntN(20)
	for len(ids) > keep {
		// Now and then the newest, on which uploads rely.
		i := rng.IntN(len(ids) - keep/2)
		if rng.IntN(8) == 0 {
			i = len(ids) - 1
		}
		say("forgetting %s", ids[i])
		err := r.Forget(ctx, ids[i:i+1], repo.ForgetOptions{IgnoreUnusual: true})
		if err != nil && !errors.Is(err, object.CodeNotFound) {
			return err
		}
		if rng.IntN(10) == 0 {
			if err := r.Unforget(ctx, ids[i]); err != nil && !errors.Is(err, object.CodeNotFound) {
				return fmt.Errorf("unforget: %w", err)
			}
		}
		ids = slices.Delete(ids, i, i+1)
	}
	return nil
}

func playPrune(ctx context.Context, r *repo.Repository, rng *rand.Rand) error {
	time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
	opt := repo.PruneOptions{Grace: -1, MaxUnused: []float64{-1, 5, 30}[rng.IntN(3)], Yes: true}
	if rng.IntN(3) == 0 {
		opt.Grace = time.Duration(1+rng.IntN(2000)) * time.Millisecond
	}
	if _, err := r.Prune(ctx, opt); err != nil {
		return err
	}
	say("pruned")
	return nil
}

func playRestore(ctx context.Context, r *repo.Repository, rng *rand.Rand) error {
	var all []*object.Snapshot
	if err := r.Snapshots(ctx, func(s *object.Snapshot) error { s.Sealed = nil; all = append(all, s); return nil }); err != nil {
		return err
	}
	if len(all) == 0 {
		time.Sleep(10 * time.Millisecond)
		return nil
	}
	s := all[rng.IntN(len(all))]
	err := restore(ctx, r, s, map[object.ID]int{})
	if err == nil {
		say("restored")
		return nil
	}
	// Unless it was forgotten, it must have been whole.
	if _, gone := r.Snapshot(ctx, s.ID()); errors.Is(gone, object.CodeNotFound) {
		return nil
	}
	return fmt.Errorf("snapshot %s is live, and can't be restored: %w", s.ID().Short(), err)
}
