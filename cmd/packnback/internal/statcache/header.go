package statcache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cespare/xxhash/v2"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// headerMagic begins the file that names a generation; its last byte is the
// version.
const headerMagic = "PNBcach\x01"

// headerSize is the length of that file.
const headerSize = len(headerMagic) + bindingSize + 2*object.IDSize + 6*8 + 8

// The two names it can have: of the generation in use, and of one that becomes
// it once the store is known to have its base snapshot.
const (
	currentName = "current"
	nextName    = "next"
)

// errHeader is wrapped by everything that is wrong with such a file's bytes.
var errHeader = errors.New("damaged cache header")

// header names the files of a generation.
type header struct {
	binding bindingHash
	base    object.ID // snapshot that the generation describes
	root    object.ID // its root directory

	walk, content, objects stored
}

// stored is one file: the number in its name, and its length.
type stored struct{ number, size uint64 }

func (h *header) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, headerMagic...)
	dst = append(dst, h.binding[:]...)
	dst = append(dst, h.base[:]...)
	dst = append(dst, h.root[:]...)
	for _, s := range [...]stored{h.walk, h.content, h.objects} {
		dst = binary.BigEndian.AppendUint64(dst, s.number)
		dst = binary.BigEndian.AppendUint64(dst, s.size)
	}
	return binary.BigEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

// unmarshalHeader reads the one header that b is.
func unmarshalHeader(b []byte) (*header, error) {
	if len(b) != headerSize || string(b[:len(headerMagic)]) != headerMagic {
		return nil, fmt.Errorf("%w: not a version 1 header", errHeader)
	}
	body := b[:len(b)-8]
	if xxhash.Sum64(body) != binary.BigEndian.Uint64(b[len(body):]) {
		return nil, fmt.Errorf("%w: checksum mismatch", errHeader)
	}
	h := new(header)
	b = body[len(headerMagic):]
	b = b[copy(h.binding[:], b):]
	b = b[copy(h.base[:], b):]
	b = b[copy(h.root[:], b):]
	for _, s := range [...]*stored{&h.walk, &h.content, &h.objects} {
		s.number, s.size = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
		b = b[16:]
	}
	return h, nil
}

// readHeader reads the header called name; the error wraps fs.ErrNotExist when
// there is none.
func readHeader(fsys table.FS, name string) (*header, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b [headerSize + 1]byte
	n, _ := f.ReadAt(b[:], 0) // a short read shows as a header of the wrong length
	return unmarshalHeader(b[:n])
}

// writeHeader makes the header durable under name, replacing what was there.
func writeHeader(fsys table.FS, name string, h *header) error {
	return WriteFile(fsys, name, h.append(nil))
}

// WriteFile makes a file with the bytes b durable under name, replacing what
// was there: after a crash it has its old contents or the new ones.
func WriteFile(fsys table.FS, name string, b []byte) error {
	tmp := tempPrefix + name
	if err := fsys.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("writing %q: %w", name, err)
	}
	f, err := fsys.Create(tmp)
	if err != nil {
		return fmt.Errorf("writing %q: %w", name, err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fsys.Replace(tmp, name)
	}
	if err == nil {
		err = fsys.SyncDir(".")
	}
	if err != nil {
		return fmt.Errorf("writing %q: %w", name, err)
	}
	return nil
}

func (s stored) name(kind string) string { return fmt.Sprintf("%s-%d", kind, s.number) }
