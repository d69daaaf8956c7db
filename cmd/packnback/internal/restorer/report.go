package restorer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/tree"
)

// reporter counts and passes on what happens, one call at a time.
type reporter struct {
	mu     sync.Mutex
	to     Reporter
	result Result
}

func (r *reporter) done(a Action, path string, e *tree.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case a == Kept:
		r.result.Kept++
	case a == Deleted:
		r.result.Deleted++
	case e.Type == tree.TypeFile:
		r.result.Files++
	case e.Type == tree.TypeDir:
		r.result.Dirs++
	default:
		r.result.Others++
	}
	r.to.Done(a, path, e)
}

// content counts the bytes of e, if it is a file; not for further names of it.
func (r *reporter) content(e *tree.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Type == tree.TypeFile {
		r.result.Bytes += e.Size
	}
}

// whole reports whether err leaves the content of an entry whole.
func whole(err error) bool {
	var meta *metadataError
	return err == nil || errors.As(err, &meta)
}

func (r *reporter) wrote(bytes uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Written += bytes
	r.to.Wrote(bytes)
}

func (r *reporter) lost(path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Lost++
	r.to.Lost(path, err)
}

// outcome reports what became of e: err is nil, a *metadataError, or why it is
// lost. An error that concerns everything else, too, is returned.
func (r *reporter) outcome(a Action, path string, e *tree.Entry, err error) error {
	var meta *metadataError
	switch {
	case err == nil:
	case errors.As(err, &meta):
		r.mu.Lock()
		for _, err := range meta.errs {
			r.result.Remarks++
			r.to.Remark(path, err)
		}
		r.mu.Unlock()
	case concernsAll(err):
		return &PathError{path, err}
	default:
		r.lost(path, err)
		return nil
	}
	r.done(a, path, e)
	return nil
}

// concernsAll reports whether err would meet every further file, so that the
// restore had better stop.
func concernsAll(err error) bool {
	for _, e := range [...]error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EMFILE, unix.ENFILE, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// PathError says at which path of the restore something happened.
type PathError struct {
	Path string
	Err  error
}

// Error names the path, which may hold any bytes.
func (e *PathError) Error() string { return fmt.Sprintf("restoring %.500q: %v", e.Path, e.Err) }

// Unwrap returns the reason.
func (e *PathError) Unwrap() error { return e.Err }
