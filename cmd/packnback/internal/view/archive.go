package view

import (
	"archive/tar"
	"archive/zip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/packnback/packnback/repo/tree"
)

// archiver writes the entries of an archive, one after the other.
type archiver interface {
	// begin starts an entry called name (no leading slash) and returns where its
	// content goes; nil for what has none.
	begin(name string, e *tree.Entry) (io.Writer, error)
	close() error
}

// archived is what the planning half of an archive tells the writing half.
type archived struct {
	name  string
	entry *tree.Entry // without extents
}

// Archive writes what is in the folder from (or from itself, if it is none) to
// w, as a tar archive in PAX format with extended attributes, or as a zip
// archive. It fetches ahead; memory does not grow with the number of entries,
// except for a zip's table of contents (about 200 bytes for each). A file that
// is lost ends it: an archive with a hole in it could pass for a whole one.
func (r *Reader) Archive(ctx context.Context, w io.Writer, asZip bool, from Place) error {
	var a archiver = &tarArchiver{w: tar.NewWriter(w), first: map[[16]byte]string{}}
	if asZip {
		a = &zipArchiver{w: zip.NewWriter(w)}
	}
	base := strings.TrimSuffix(from.Path, "/")
	if from.Entry.Type != tree.TypeDir {
		base = base[:len(base)-len(from.Entry.Name)-1]
	}
	produce := func(yield func(Piece) error) error {
		return r.Walk(ctx, from, func(it *Item) error {
			if it.Step == Leave {
				return it.Err
			}
			name := strings.TrimPrefix(strings.TrimPrefix(it.Path, base), "/")
			if name == "" {
				return nil // the folder itself
			}
			return pieces(it, name, yield)
		})
	}
	var out io.Writer
	var at string
	err := r.Pieces(ctx, produce, func(p Piece, b []byte, err error) error {
		if x, ok := p.Token.(archived); ok {
			at = x.name
			out, err = a.begin(x.name, x.entry)
			if err != nil {
				return fmt.Errorf("archiving %.500q: %w", at, err)
			}
			return nil
		}
		switch {
		case err != nil:
		case out == nil: // the content came with an earlier name of the file
		case p.Extent.Kind == tree.ExtentHole:
			err = writeZeros(out, p.Extent.Length)
		default:
			_, err = out.Write(b)
		}
		if err != nil {
			return fmt.Errorf("archiving %.500q: %w", at, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.close()
}

// pieces yields an entry and then its extents.
func pieces(it *Item, name string, yield func(Piece) error) error {
	e := new(tree.Entry)
	*e = *it.Entry
	e.Extents = nil
	if err := yield(Piece{Token: archived{name: name, entry: e}}); err != nil || e.Type != tree.TypeFile {
		return err
	}
	for x, err := range it.Extents() {
		if err != nil {
			return fmt.Errorf("the list of the content of %.500q: %w", it.Path, err)
		}
		if err := yield(Piece{Extent: x.Extent}); err != nil {
			return err
		}
	}
	return nil
}

// maxTarLinks bounds the hard links whose first name is remembered. Further
// ones are archived with their content.
const maxTarLinks = 1 << 16

type tarArchiver struct {
	w     *tar.Writer
	first map[[16]byte]string // of files with several names, by LinkKey; at most maxTarLinks
}

func (t *tarArchiver) begin(name string, e *tree.Entry) (io.Writer, error) {
	h := &tar.Header{
		Format: tar.FormatPAX, Name: name, Mode: int64(e.Mode), Uid: int(e.UID), Gid: int(e.GID),
		Uname: e.User, Gname: e.Group, ModTime: Time(e.Mtime),
	}
	for _, x := range e.Xattrs {
		if strings.Contains(x.Name, "=") {
			continue // the format has no way to say it
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+x.Name] = string(x.Value)
	}
	switch e.Type {
	case tree.TypeDir:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case tree.TypeFile:
		h.Typeflag, h.Size = tar.TypeReg, int64(e.Size)
	case tree.TypeSymlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Target
	case tree.TypeFIFO:
		h.Typeflag = tar.TypeFifo
	case tree.TypeChar, tree.TypeBlock:
		h.Typeflag = tar.TypeChar
		if e.Type == tree.TypeBlock {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = deviceNumbers(e.Rdev)
	}
	if e.LinkID != 0 {
		key := LinkKey(e)
		if first, ok := t.first[key]; ok {
			h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, first, 0, nil
		} else if len(t.first) < maxTarLinks {
			t.first[key] = name
		}
	}
	if err := t.w.WriteHeader(h); err != nil {
		return nil, err
	}
	if h.Typeflag != tar.TypeReg {
		return nil, nil
	}
	return t.w, nil
}

func (t *tarArchiver) close() error { return t.w.Close() }

// deviceNumbers splits a device number as Linux packs it.
func deviceNumbers(rdev uint64) (major, minor int64) {
	return int64(rdev>>8&0xfff | rdev>>32&^uint64(0xfff)&0xffffffff), int64(rdev&0xff | rdev>>12&^uint64(0xff)&0xffffffff)
}

type zipArchiver struct{ w *zip.Writer }

var zipTypes = map[tree.Type]fs.FileMode{
	tree.TypeDir: fs.ModeDir, tree.TypeSymlink: fs.ModeSymlink, tree.TypeFIFO: fs.ModeNamedPipe,
	tree.TypeChar: fs.ModeDevice | fs.ModeCharDevice, tree.TypeBlock: fs.ModeDevice,
}

func (z *zipArchiver) begin(name string, e *tree.Entry) (io.Writer, error) {
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: Time(e.Mtime)}
	mode := fs.FileMode(e.Mode&0o777) | zipTypes[e.Type]
	for bit, m := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if e.Mode&bit != 0 {
			mode |= m
		}
	}
	h.SetMode(mode)
	if e.Type == tree.TypeDir {
		h.Name, h.Method = name+"/", zip.Store
	}
	out, err := z.w.CreateHeader(h)
	if err == nil && e.Type == tree.TypeSymlink {
		_, err = io.WriteString(out, e.Target)
	}
	if e.Type != tree.TypeFile {
		out = nil
	}
	return out, err
}

func (z *zipArchiver) close() error { return z.w.Close() }
