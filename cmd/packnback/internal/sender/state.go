package sender

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"
	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// The files of the state folder, packnback-cache(5), "STATE". The last byte of
// a magic is the version.
const (
	headName     = "head"
	pendingName  = "pending"
	headMagic    = "PNBhead\x01"
	pendingMagic = "PNBpend\x01"

	stateBinding = 32
	headSize     = len(headMagic) + stateBinding + 8 + object.IDSize + 8 + 8
	maxPending   = len(pendingMagic) + stateBinding + 4 + object.MaxLink + 8
)

// errState is wrapped by everything that is wrong with such a file's bytes.
var errState = errors.New("damaged state file")

// knownHead is the last snapshot of a job that this machine knows to be
// committed.
type knownHead struct {
	binding  [stateBinding]byte
	seq      uint64
	id       object.ID
	received int64 // store's clock, nanoseconds since 1970
}

func (h *knownHead) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, headMagic...)
	dst = append(dst, h.binding[:]...)
	dst = binary.BigEndian.AppendUint64(dst, h.seq)
	dst = append(dst, h.id[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.received))
	return binary.BigEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

func unmarshalHead(b []byte) (*knownHead, error) {
	if len(b) != headSize || string(b[:len(headMagic)]) != headMagic {
		return nil, fmt.Errorf("%w: not a version 1 head", errState)
	}
	if body := b[:len(b)-8]; xxhash.Sum64(body) != binary.BigEndian.Uint64(b[len(body):]) {
		return nil, fmt.Errorf("%w: checksum mismatch", errState)
	}
	h := new(knownHead)
	b = b[len(headMagic):]
	b = b[copy(h.binding[:], b):]
	h.seq = binary.BigEndian.Uint64(b)
	b = b[8:]
	b = b[copy(h.id[:], b):]
	h.received = int64(binary.BigEndian.Uint64(b))
	return h, nil
}

func appendPending(dst []byte, binding [stateBinding]byte, m *object.Manifest) []byte {
	start := len(dst)
	link := m.Append(nil)
	dst = append(dst, pendingMagic...)
	dst = append(dst, binding[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(link)))
	dst = append(dst, link...)
	return binary.BigEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

func unmarshalPending(b []byte) (binding [stateBinding]byte, m *object.Manifest, err error) {
	const head = len(pendingMagic) + stateBinding + 4
	if len(b) < head+8 || len(b) > maxPending || string(b[:len(pendingMagic)]) != pendingMagic {
		return binding, nil, fmt.Errorf("%w: not a version 1 pending manifest", errState)
	}
	body := b[:len(b)-8]
	if xxhash.Sum64(body) != binary.BigEndian.Uint64(b[len(body):]) {
		return binding, nil, fmt.Errorf("%w: checksum mismatch", errState)
	}
	if n := binary.BigEndian.Uint32(body[head-4:]); uint64(n) != uint64(len(body)-head) {
		return binding, nil, fmt.Errorf("%w: a manifest of %d bytes in %d", errState, n, len(body)-head)
	}
	copy(binding[:], body[len(pendingMagic):])
	m, err = object.UnmarshalManifest(body[head:])
	return binding, m, err
}

// state is what a sender must not forget about one job.
type state struct {
	dir     string
	fsys    table.FS
	binding [stateBinding]byte
	head    *knownHead       // nil: nothing is known
	pending *object.Manifest // nil: none
}

// openState reads the state in the folder dir, which is made when it is
// missing. State of another send key is left alone and counts as none.
func openState(dir string, binding [stateBinding]byte, note func(string)) (*state, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	s := &state{dir: dir, fsys: table.OS(dir), binding: binding}
	b, err := os.ReadFile(filepath.Join(dir, headName))
	if err == nil {
		if s.head, err = unmarshalHead(b); err == nil && s.head.binding != binding {
			s.head = nil
		}
	}
	if err := s.unreadable(headName, err, note); err != nil {
		return nil, err
	}
	b, err = os.ReadFile(filepath.Join(dir, pendingName))
	if err == nil {
		var of [stateBinding]byte
		if of, s.pending, err = unmarshalPending(b); err == nil && of != binding {
			s.pending = nil
		}
	}
	return s, s.unreadable(pendingName, err, note)
}

// unreadable decides what an error of reading the state means. Damage costs
// the protection that the state gives, not the backup.
func (s *state) unreadable(name string, err error, note func(string)) error {
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, errState), errors.Is(err, object.ErrMalformed):
		note(fmt.Sprintf("%q is ignored: %v; this run can't tell whether the store was rolled back", filepath.Join(s.dir, name), err))
		return nil
	}
	return fmt.Errorf("reading the state: %w", err)
}

// prepare makes a manifest durable that is about to be committed.
func (s *state) prepare(m *object.Manifest) error {
	s.pending = m
	return s.write(pendingName, appendPending(nil, s.binding, m))
}

// committed makes a snapshot the head and forgets what was pending.
func (s *state) committed(m *object.Manifest, received int64) error {
	s.head = &knownHead{binding: s.binding, seq: m.Seq, id: m.ID(), received: received}
	if err := s.write(headName, s.head.append(nil)); err != nil {
		return err
	}
	return s.forget()
}

// forget forgets what was pending.
func (s *state) forget() error {
	s.pending = nil
	if err := s.fsys.Remove(pendingName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the pending manifest: %w", err)
	}
	return nil
}

func (s *state) write(name string, b []byte) error {
	if err := statcache.WriteFile(s.fsys, name, b); err != nil {
		return fmt.Errorf("state folder %q: %w", s.dir, err)
	}
	return nil
}

// LastBackup is a job's last snapshot as far as this machine knows.
type LastBackup struct {
	Repository  string // id in hex
	Client, Job string
	Seq         uint64
	Snapshot    object.ID
	Received    int64 // the store's clock, nanoseconds since 1970
}

// LastBackups returns the last snapshot of every job that has state in the
// folder that Folders.State names. It asks no store. Damaged state is an error
// that comes with all the rest.
func LastBackups(folder string) ([]LastBackup, error) {
	paths, err := fs.Glob(os.DirFS(folder), "*/*/*/"+headName)
	if err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	var last []LastBackup
	var errs []error
	for _, path := range paths {
		b, err := os.ReadFile(filepath.Join(folder, path))
		var h *knownHead
		if err == nil {
			h, err = unmarshalHead(b)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("reading %q: %w", path, err))
			continue
		}
		job := filepath.Dir(path)
		client := filepath.Dir(job)
		last = append(last, LastBackup{
			Repository: filepath.Base(filepath.Dir(client)), Client: filepath.Base(client), Job: filepath.Base(job),
			Seq: h.seq, Snapshot: h.id, Received: h.received,
		})
	}
	return last, errors.Join(errs...)
}
