package tree

import (
	"fmt"
	"strings"

	"github.com/packnback/packnback/repo/object"
)

// Limits of an entry. A DirWriter refuses what is beyond them with a
// LimitError, a reader as malformed.
const (
	MaxName       = 1024    // bytes of a name
	MaxTarget     = 1 << 16 // bytes of a symlink's target
	MaxUserName   = 255     // bytes of a user or group name
	MaxXattrName  = 255     // bytes of an extended attribute's name
	MaxXattrValue = 1 << 16 // bytes of its value
	MaxXattrs     = 1024    // extended attributes of one entry
	MaxXattrBytes = 1 << 18 // bytes of all names and values of one entry's extended attributes
	MaxExtents    = 64      // extents that stand in an entry; files of more have a list
	ModeMask      = 0o7777  // the bits of Mode
)

// Type says what an entry is. The numbers never change meaning.
type Type uint8

// The types of packnback-tree(5). Sockets are not kept.
const (
	TypeFile    Type = 1 // regular file
	TypeDir     Type = 2
	TypeSymlink Type = 3
	TypeFIFO    Type = 4
	TypeChar    Type = 5 // character device
	TypeBlock   Type = 6 // block device
)

// Valid reports whether t is a type that this version knows.
func (t Type) Valid() bool { return t >= TypeFile && t <= TypeBlock }

// String returns one word for people and for JSON.
func (t Type) String() string {
	switch t {
	case TypeFile:
		return "file"
	case TypeDir:
		return "dir"
	case TypeSymlink:
		return "symlink"
	case TypeFIFO:
		return "fifo"
	case TypeChar:
		return "chardev"
	case TypeBlock:
		return "blockdev"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Time is a time as a file system keeps it.
type Time struct {
	Sec  int64  // seconds since 1970; negative before
	Nsec uint32 // 0 to 999,999,999, always forward from Sec
}

// Entry is one name in a directory with everything known about it. Which
// fields an entry has depends on its type; the others are zero.
type Entry struct {
	Name     string // any bytes but '/' and NUL; not "", "." or ".."
	Type     Type
	Mode     uint32 // permission, set-id and sticky bits: ModeMask
	UID, GID uint32
	User     string // name of UID where the sender could tell, else ""
	Group    string
	Mtime    Time
	Atime    Time    // only with HasAtime
	HasAtime bool    // the backup ran with --with-atime
	LinkID   uint64  // same for all names of a file with several; 0 for one name; never of a directory
	Xattrs   []Xattr // ascending by name

	Size    uint64    // TypeFile: the sum of its extents' lengths. TypeSymlink: len(Target). Others 0
	Extents []Extent  // TypeFile: the contents in order
	Subtree object.ID // TypeDir: the directory object
	Target  string    // TypeSymlink: any bytes but NUL, not empty
	Rdev    uint64    // TypeChar, TypeBlock: the device number as Linux packs it into 64 bits
}

// Xattr is one extended attribute, POSIX ACLs included.
type Xattr struct {
	Name  string // not empty, no NUL
	Value []byte
}

// ExtentKind says where the bytes of an extent are.
type ExtentKind uint8

// The kinds of extent. Hole reads as zeros and has no object.
const (
	ExtentBundle ExtentKind = 1 // Length bytes at Offset in a bundle
	ExtentChunk  ExtentKind = 2 // all of a chunk
	ExtentList   ExtentKind = 3 // the extents of a list object, which add up to Length
	ExtentHole   ExtentKind = 4 // Length zero bytes that the file system did not store
)

// Extent is a run of a file's bytes.
type Extent struct {
	Kind   ExtentKind
	ID     object.ID // zero for ExtentHole
	Offset uint32    // ExtentBundle only
	Length uint64    // never 0
}

// LimitError says that an entry can't be stored because something in it
// exceeds a limit of the format. The writer it comes from is unharmed: the
// caller may leave the thing out, report it, and go on.
type LimitError struct {
	What  string // such as "extended attribute value"
	Size  int
	Limit int
}

// Error names the thing and the limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("%s of %d is over the limit of %d", e.What, e.Size, e.Limit)
}

// Emit takes one finished object and returns its id. kind is KindDir or
// KindList. refs and plaintext are valid only during the call.
type Emit func(kind object.Kind, refs []object.ID, plaintext []byte) (object.ID, error)

// Load returns the refs and the plaintext of an object, whose id the callee
// has verified. The caller does not change them, and may keep them.
type Load func(kind object.Kind, id object.ID) (refs []object.ID, plaintext []byte, err error)

// ComparePaths orders slash-separated paths as a depth-first walk with sorted
// names meets them: component by component, by bytes, a folder before what is
// in it. It returns -1, 0 or +1.
func ComparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := 0; i < n; i++ {
		if a[i] == b[i] {
			continue
		}
		// The end of a component comes before every byte that may be in one.
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return +1
		case a[i] < b[i]:
			return -1
		}
		return +1
	}
	return strings.Compare(a[n:], b[n:])
}
