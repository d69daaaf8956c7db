package disk

import (
	"errors"
	"fmt"
	"io"
)

// ErrLong is wrapped by ReadFile's error about a file beyond its limit.
var ErrLong = errors.New("the file is too long")

// ReadFile returns the whole of a file that may be at most limit bytes long;
// a longer one is an error and nothing is read of it.
func ReadFile(fsys FS, name string, limit int64) (b []byte, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("reading %q: %w: %d bytes, limit is %d", name, ErrLong, size, limit)
	}
	b = make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("reading %q: %w", name, err)
	}
	return b, nil
}
