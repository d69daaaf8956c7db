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
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return new(Known), nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKnownFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, err)
	}
	k, err := ParseKnown(text)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, err)
	}
	return k, nil
}

// UpdateKnown reads the known_clients file at path, lets change alter it, and
// replaces it as a whole (0600), under a lock that other processes respect.
// Nothing is written when change fails.
func UpdateKnown(path string, change func(*Known) error) error {
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
	k, err := LoadKnown(path)
	if err != nil {
		return err
	}
	before := k.Append(nil)
	if err := change(k); err != nil {
		return err
	}
	if bytes.Equal(before, k.Append(nil)) {
		return nil // nothing new, which is the ordinary case
	}
	if err := renameio.WriteFile(path, k.Append(nil), 0o600); err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	return nil
}
