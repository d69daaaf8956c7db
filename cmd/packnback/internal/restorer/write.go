package restorer

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/tree"
)

// maxOpenFiles is how many unfinished files are kept open. Beyond it they are
// closed after every write and opened again for the next.
const maxOpenFiles = 512

// sparseBlock is the unit in which --sparse looks for zeros: the block size of
// nearly every file system.
const sparseBlock = 4096

// file is a regular file that is being restored. Its content goes to a new
// inode without a name (or with a temporary one, where the file system can't do
// without), which takes the file's name when it is complete. So a file under
// its own name is never half there, and what else shares the old inode, perhaps
// a hard link to somewhere outside, is not touched.
type file struct {
	dir   *folder
	entry *tree.Entry // without extents

	mu   sync.Mutex
	left int    // pieces that are planned and not yet written, plus one while planning goes on
	err  error  // the first thing that went wrong; nothing more is written then
	fd   int    // -1 while closed
	temp string // the inode's temporary name; "" while it has none
	ino  uint64 // to recognise it when it is opened again
	made bool
	end  uint64 // what was written last ends here, as far as the inode's size shows
}

// writer makes files. Safe for concurrent use, for different files.
type writer struct {
	folders *folders
	meta    *applier
	opt     Options
	open    atomic.Int64 // unfinished files that are open
	names   atomic.Uint64
	run     string // makes temporary names unlike those of other runs

	mu         sync.Mutex
	unfinished map[*file]struct{} // those with an inode; bounded by the windows in flight
}

func newWriter(fs *folders, opt Options) *writer {
	var b [6]byte
	rand.Read(b[:])
	return &writer{folders: fs, meta: newApplier(opt), opt: opt, run: hex.EncodeToString(b[:]), unfinished: map[*file]struct{}{}}
}

// tempPattern is what temporary names look like.
var tempPattern = regexp.MustCompile(`^\.packnback-[0-9a-f]{12}-[0-9a-z]{1,13}$`)

func (w *writer) tempName() string {
	return ".packnback-" + w.run + "-" + strconv.FormatUint(w.names.Add(1), 36)
}

// piece is a run of bytes of a file, out of one object.
type piece struct {
	file   *file
	at     uint64 // in the file
	extent tree.Extent
	sum    uint64 // xxhash64 of the bytes, for Verify
}

// write puts b at offset at of f, and finishes f when it was the last piece.
func (w *writer) write(f *file, at uint64, b []byte) (done bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = w.put(f, at, b)
	}
	return w.settle(f)
}

// settled says that something of f is dealt with that was no piece.
func (w *writer) settled(f *file) (done bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return w.settle(f)
}

// fail says that a piece of f can't be had.
func (w *writer) fail(f *file, err error) (done bool, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
	return w.settle(f)
}

// settle counts a piece as dealt with. When it was the last one, done is true
// and err is what became of the file. f.mu is held.
func (w *writer) settle(f *file) (done bool, err error) {
	if f.left--; f.left > 0 {
		return false, nil
	}
	if f.err == nil {
		f.err = w.finish(f)
	}
	w.discard(f)
	return true, f.err
}

func (w *writer) put(f *file, at uint64, b []byte) error {
	if err := w.reach(f); err != nil {
		return err
	}
	err := writeAt(f.fd, b, int64(at), w.opt.Sparse)
	if !w.opt.Sparse {
		f.end = max(f.end, at+uint64(len(b)))
	}
	if f.temp != "" && f.left > 1 && w.open.Load() > maxOpenFiles {
		w.close(f)
	}
	return err
}

// reach makes sure that f has an inode and is open.
func (w *writer) reach(f *file) error {
	if f.fd >= 0 {
		return nil
	}
	err := w.folders.use(f.dir, func(dir int) error {
		if f.made {
			return w.reopen(f, dir)
		}
		return w.create(f, dir)
	})
	if err == nil {
		w.open.Add(1)
		w.mu.Lock()
		w.unfinished[f] = struct{}{}
		w.mu.Unlock()
	}
	return err
}

func (w *writer) create(f *file, dir int) error {
	const flags = unix.O_RDWR | unix.O_CLOEXEC
	// An inode with no name leaves nothing behind when this process is killed.
	// For a file that is written in one go, a temporary name is faster.
	if f.left > 1 && w.open.Load() < maxOpenFiles {
		fd, err := ignoringEINTR(func() (int, error) { return unix.Openat(dir, ".", flags|unix.O_TMPFILE, 0o600) })
		if err == nil {
			f.fd, f.made = fd, true
			return nil
		}
	}
	name := w.tempName()
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Openat(dir, name, flags|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	})
	if err != nil {
		return fmt.Errorf("making the file: %w", err)
	}
	f.fd, f.temp, f.made = fd, name, true
	// The lock ends with this process; removeStale sees that the file is alive.
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil && err != unix.ENOTSUP && err != unix.ENOLCK {
		return fmt.Errorf("locking the file: %w", err)
	}
	if f.left <= 1 {
		return nil // it is not closed before it is finished
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	f.ino = st.Ino
	return nil
}

func (w *writer) reopen(f *file, dir int) error {
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Openat(dir, f.temp, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return fmt.Errorf("going on with the file: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Ino != f.ino {
		unix.Close(fd)
		return errors.New("another process has replaced the unfinished file")
	}
	f.fd = fd
	return nil
}

func (w *writer) close(f *file) {
	if f.fd >= 0 {
		unix.Close(f.fd)
		f.fd = -1
		w.open.Add(-1)
	}
}

// discard closes f and removes its temporary name, if it still has one.
func (w *writer) discard(f *file) {
	w.close(f)
	if f.temp != "" {
		_ = w.folders.use(f.dir, func(dir int) error { return unix.Unlinkat(dir, f.temp, 0) })
		f.temp = ""
	}
	w.mu.Lock()
	delete(w.unfinished, f)
	w.mu.Unlock()
}

// abandon removes what unfinished files have left behind. Nothing else runs
// any more.
func (w *writer) abandon() {
	for f := range w.unfinished {
		w.discard(f)
	}
}

// finish gives f its size, metadata and name.
func (w *writer) finish(f *file) error {
	if err := w.reach(f); err != nil {
		return err
	}
	if f.end != f.entry.Size { // it ends in a hole
		if err := unix.Ftruncate(f.fd, int64(f.entry.Size)); err != nil {
			return fmt.Errorf("setting the size: %w", err)
		}
	}
	remarks := w.meta.apply(inode{fd: f.fd}, f.entry, f.dir.fresh)
	if err := w.folders.use(f.dir, func(dir int) error { return w.name(f, dir) }); err != nil {
		return fmt.Errorf("giving the file its name: %w", err)
	}
	if len(remarks) > 0 {
		return &metadataError{remarks}
	}
	return nil
}

// metadataError says that a file is there with all its content, and something
// about it could not be set.
type metadataError struct{ errs []error }

func (e *metadataError) Error() string { return errors.Join(e.errs...).Error() }

// name puts the finished inode in place of whatever non-folder has its name.
func (w *writer) name(f *file, dir int) error {
	if f.temp == "" {
		err := linkOpen(f.fd, dir, f.entry.Name)
		if err != unix.EEXIST {
			return err
		}
		f.temp = w.tempName()
		if err := linkOpen(f.fd, dir, f.temp); err != nil {
			f.temp = ""
			return err
		}
	}
	err := unix.Renameat(dir, f.temp, dir, f.entry.Name)
	if err == unix.EISDIR {
		if err = w.removeFolder(f.dir, dir, f.entry.Name); err == nil {
			err = unix.Renameat(dir, f.temp, dir, f.entry.Name)
		}
	}
	if err == nil {
		f.temp = ""
	}
	return err
}

func (w *writer) removeFolder(d *folder, dir int, name string) error {
	st, err := stat(dir, name)
	if err != nil {
		return err
	}
	return w.opt.clearWay(d, dir, name, st)
}

// linkOpen gives an inode without a name one.
func linkOpen(fd, dir int, name string) error {
	return unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), dir, name, unix.AT_SYMLINK_FOLLOW)
}

// writeAt writes all of b at off. With sparse, whole blocks of zeros are left
// out: the file is new, so they are holes already.
func writeAt(fd int, b []byte, off int64, sparse bool) error {
	for len(b) > 0 {
		run := b
		if sparse {
			skip, data := nextRun(b, off)
			b, off, run = b[skip:], off+int64(skip), b[skip:skip+data]
		}
		for done := 0; done < len(run); {
			n, err := ignoringEINTR(func() (int, error) { return unix.Pwrite(fd, run[done:], off+int64(done)) })
			if err != nil {
				return fmt.Errorf("writing %d bytes at %d: %w", len(run)-done, off+int64(done), err)
			}
			done += n
		}
		b, off = b[len(run):], off+int64(len(run))
	}
	return nil
}

// nextRun returns how many zero bytes at the front of b, which is for offset
// off, fill whole blocks, and how many bytes follow before the next such block.
func nextRun(b []byte, off int64) (zeros, data int) {
	inData := false
	for i := 0; i < len(b); {
		n := min(sparseBlock-int((off+int64(i))%sparseBlock), len(b)-i)
		hole := n == sparseBlock && allZero(b[i:i+n])
		switch {
		case hole && inData:
			return zeros, i - zeros
		case hole:
			zeros += n
		default:
			inData = true
		}
		i += n
	}
	return zeros, len(b) - zeros
}

var zeroBlock [sparseBlock]byte

func allZero(b []byte) bool { return bytes.Equal(b, zeroBlock[:len(b)]) }

// verify reads x back from its file, which is not finished yet, and counts it
// as dealt with.
func (w *writer) verify(x *piece, buf []byte) (done bool, err error) {
	f := x.file
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = w.reach(f)
	}
	if f.err == nil {
		// Drops what is in memory, so that the disk is what is read.
		_ = unix.Fadvise(f.fd, int64(x.at), int64(x.extent.Length), unix.FADV_DONTNEED)
		f.err = x.check(f.fd, buf)
	}
	if f.temp != "" && w.open.Load() > maxOpenFiles {
		w.close(f)
	}
	return w.settle(f)
}

// check reads the bytes of p back from the finished file f.
func (p *piece) check(fd int, buf []byte) error {
	h := xxhash.New()
	for done := uint64(0); done < p.extent.Length; {
		n := min(uint64(len(buf)), p.extent.Length-done)
		k, err := ignoringEINTR(func() (int, error) { return unix.Pread(fd, buf[:n], int64(p.at+done)) })
		if err != nil {
			return fmt.Errorf("reading it again: %w", err)
		}
		if k == 0 {
			return fmt.Errorf("reading it again: it ends at byte %d", p.at+done)
		}
		h.Write(buf[:k])
		done += uint64(k)
	}
	if h.Sum64() != p.sum {
		return fmt.Errorf("read again, bytes %d to %d are not what was written", p.at, p.at+p.extent.Length)
	}
	return nil
}
