package view

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// LoadKnown reads the known_clients file at path. A file that is not there is
// an empty one.
func LoadKnown(path string) (*Known, error) {
	k, err := load(path, ParseKnown)
	if k == nil && err == nil {
		k = new(Known)
	}
	return k, err
}

// UpdateKnown reads the known_clients file at path, lets change alter it, and
// replaces it as a whole (0600), under a lock that other processes respect.
// Nothing is written when change fails.
func UpdateKnown(path string, change func(*Known) error) error {
	return update(path, func(b []byte) ([]byte, error) {
		k, err := parsed(path, b, ParseKnown)
		if err != nil {
			return nil, err
		}
		if k == nil {
			k = new(Known)
		}
		before := k.Append(nil)
		if err := change(k); err != nil {
			return nil, err
		}
		after := k.Append(nil)
		if bytes.Equal(before, after) {
			return b, nil // nothing new, which is the ordinary case: somebody's remarks stay
		}
		return after, nil
	})
}

// load reads the file at path, of which maxKnownFile is the limit. One that is
// not there gives a zero T.
func load[T any](path string, parse func([]byte) (T, error)) (none T, err error) {
	b, err := readState(path)
	if err != nil {
		return none, err
	}
	return parsed(path, b, parse)
}

// parsed reads b, the content of the file at path; nil gives a zero T.
func parsed[T any](path string, b []byte, parse func([]byte) (T, error)) (t T, err error) {
	if b == nil {
		return t, nil
	}
	if t, err = parse(b); err != nil {
		return t, fmt.Errorf("reading %q: %w", path, err)
	}
	return t, nil
}

// readState returns what is in the file at path, a byte more than its limit
// where it is too large, and nil when it is not there.
func readState(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKnownFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, err)
	}
	return b, nil
}

// update replaces the file at path by what change makes of its content, under a
// lock. The same content is not written again, and nothing when change fails.
func update(path string, change func([]byte) ([]byte, error)) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // releases the lock, too
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("locking %q: %w", path+".lock", err)
	}
	before, err := readState(path)
	if err != nil {
		return err
	}
	after, err := change(before)
	if err != nil || bytes.Equal(before, after) {
		return err
	}
	if err := renameio.WriteFile(path, after, 0o600); err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	return nil
}
