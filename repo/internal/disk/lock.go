package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Waiting for a lock is a row of tries that don't block, because a flock call
// that blocks can't be called off. The first waits are short since the store
// holds its locks for milliseconds; the longest bounds what a waiter may come
// late by.
const (
	firstLockWait = 200 * time.Microsecond
	maxLockWait   = 20 * time.Millisecond
)

// flock locks f, waiting until ctx ends. At least one try is made.
func flock(ctx context.Context, f *os.File, mode LockMode) error {
	how := unix.LOCK_SH
	if mode == Exclusive {
		how = unix.LOCK_EX
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for wait := firstLockWait; ; wait = min(2*wait, maxLockWait) {
		err := tryFlock(f, how|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(ErrLocked, ctx.Err())
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
}

func tryFlock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err != unix.EINTR {
			return err
		}
	}
}

// osLock holds a flock. The lock belongs to the open file, so closing it
// releases, and so does the end of the process.
type osLock struct {
	f    *os.File
	path string
}

func (l *osLock) Unlock() error { return l.f.Close() }

func (l *osLock) Linked() (bool, error) {
	var held, named unix.Stat_t
	if err := unix.Fstat(int(l.f.Fd()), &held); err != nil {
		return false, &fs.PathError{Op: "fstat", Path: l.path, Err: err}
	}
	err := unix.Stat(l.path, &named)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "stat", Path: l.path, Err: err}
	}
	return held.Nlink > 0 && held.Dev == named.Dev && held.Ino == named.Ino, nil
}
