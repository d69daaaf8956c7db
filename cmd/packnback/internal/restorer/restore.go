package restorer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/table"
)

const (
	// windowsAhead is how many windows are being fetched at a time: while one is
	// decoded and written, the store already sends the next, and the one after
	// that is on its way to the store.
	windowsAhead = 3
	// sealedBudget bounds the sealed bytes that have arrived and are not decoded.
	sealedBudget = 16 << 20
)

// Job is one restore.
type Job struct {
	Reader *view.Reader
	From   view.Place // what to restore: of a folder what is in it, of anything else the thing itself
	Target string     // folder to restore into, made with those above it when missing
	// SetTarget gives the target the metadata of From, if it is a folder: its
	// times in any case, the rest only when the target was new or empty, so that
	// restoring something into /tmp does not take /tmp from its users.
	SetTarget bool
	// Scratch is an existing folder for temporary files (hard links, names).
	Scratch string
}

// run is a restore in progress.
type run struct {
	job         Job
	opt         Options
	report      *reporter
	folders     *folders
	root        *folder
	emptyTarget bool
	w           *writer
	keeper      *keeper
	links       *links
	scratch     string
	sealed      *semaphore.Weighted
	decoders    chan []byte // memory for each object that may be decoded and written at a time
}

// Restore does job. It returns an error when it could not go on; what it could
// not restore by itself is counted in Result.Lost, and told to report. All that
// is restored is complete: with a nil error it is also on the disk.
func Restore(ctx context.Context, job Job, opt Options, report Reporter) (Result, error) {
	r := &run{
		job: job, opt: opt, report: &reporter{to: report},
		sealed:   semaphore.NewWeighted(sealedBudget),
		decoders: make(chan []byte, runtime.GOMAXPROCS(0)+1), // one more, because writing waits
	}
	for range cap(r.decoders) {
		r.decoders <- nil
	}
	err := r.open()
	if err == nil {
		err = r.pipeline(ctx)
		err = errors.Join(err, r.close(err == nil))
	}
	return r.report.result, err
}

func (r *run) open() error {
	var err error
	r.folders, r.root, r.emptyTarget, err = openTarget(r.job.Target, !r.opt.DryRun)
	if errors.Is(err, os.ErrNotExist) && r.opt.DryRun {
		r.folders, r.root, err = newFolders(), &folder{fd: -1, fresh: true, absent: true}, nil
	}
	if err != nil {
		return fmt.Errorf("opening the target: %w", err)
	}
	r.w = newWriter(r.folders, r.opt)
	if r.opt.Delete {
		if err := r.makeScratch(); err != nil {
			return err
		}
		r.keeper, err = newKeeper(table.OS(r.scratch))
	}
	return err
}

// makeScratch makes a folder for temporary files, unless there is one.
func (r *run) makeScratch() error {
	if r.scratch != "" {
		return nil
	}
	var err error
	if r.scratch, err = os.MkdirTemp(r.job.Scratch, "packnback-restore-"); err != nil {
		return fmt.Errorf("making a folder for temporary files: %w", err)
	}
	return nil
}

// close gives everything back. With sync, what was restored is on the disk
// afterwards.
func (r *run) close(sync bool) error {
	r.w.abandon()
	var errs []error
	if sync && !r.opt.DryRun {
		if err := unix.Syncfs(r.root.fd); err != nil {
			errs = append(errs, fmt.Errorf("writing to disk: %w", err))
		}
	}
	if r.keeper != nil {
		errs = append(errs, r.keeper.names.Close())
	}
	if r.links != nil {
		errs = append(errs, r.links.close())
	}
	r.folders.close(r.root)
	if r.scratch != "" {
		errs = append(errs, os.RemoveAll(r.scratch))
	}
	return errors.Join(errs...)
}

// pipeline runs the stages that the package comment draws.
func (r *run) pipeline(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	todo := make(chan *window)
	ordered := make(chan *window, windowsAhead) // windows that are planned and not settled
	send := func(w *window) error {
		for _, to := range [...]chan *window{ordered, todo} {
			select {
			case to <- w:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	}
	g.Go(func() error {
		defer close(todo)
		defer close(ordered)
		p := &planner{run: r, window: newWindow(), send: send}
		walk := r.job.Reader.Walk
		if r.opt.Sparsely {
			walk = r.job.Reader.Explore
		}
		if err := walk(ctx, r.job.From, p.visit); err != nil {
			return err
		}
		return p.flush()
	})
	for range windowsAhead {
		g.Go(func() error {
			for w := range todo {
				if err := r.fetchWindow(ctx, w); err != nil {
					return err
				}
				close(w.done)
			}
			return nil
		})
	}
	g.Go(func() error {
		for w := range ordered {
			select {
			case <-w.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if err := r.settle(ctx, w); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

func (r *run) selects(path string) (selected, below bool) {
	if r.opt.Select == nil {
		return true, true
	}
	return r.opt.Select(path)
}
