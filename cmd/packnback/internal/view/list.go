package view

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/packnback/packnback/repo/tree"
)

// ModeString returns e's type and permissions as ls shows them: "drwxr-x---".
func ModeString(e *tree.Entry) string {
	b := []byte("?rwxrwxrwx")
	switch e.Type {
	case tree.TypeFile:
		b[0] = '-'
	case tree.TypeDir:
		b[0] = 'd'
	case tree.TypeSymlink:
		b[0] = 'l'
	case tree.TypeFIFO:
		b[0] = 'p'
	case tree.TypeChar:
		b[0] = 'c'
	case tree.TypeBlock:
		b[0] = 'b'
	}
	for i := range 9 {
		if e.Mode&(1<<(8-i)) == 0 {
			b[1+i] = '-'
		}
	}
	for i, special := range []struct {
		bit  uint32
		char byte
	}{{0o4000, 's'}, {0o2000, 's'}, {0o1000, 't'}} {
		if e.Mode&special.bit == 0 {
			continue
		}
		at := 3 + 3*i
		if b[at] == '-' {
			b[at] = special.char - 'a' + 'A'
		} else {
			b[at] = special.char
		}
	}
	return string(b)
}

// Time returns t in the local zone. Years that RFC 3339 can't show are kept to
// its bounds: a hostile snapshot may hold any number.
func Time(t tree.Time) time.Time {
	const first, last = -62135596800, 253402300799 // years 1 and 9999
	return time.Unix(min(max(t.Sec, first), last), int64(t.Nsec))
}

// LongLine returns one line of ls -l: mode, owner, group, size, time and path,
// as quote shows it, with a symlink's target.
func LongLine(path string, e *tree.Entry, quote func(string) string) string {
	var b strings.Builder
	size := strconv.FormatUint(e.Size, 10)
	if e.Type == tree.TypeChar || e.Type == tree.TypeBlock {
		major, minor := deviceNumbers(e.Rdev)
		size = fmt.Sprintf("%d,%d", major, minor)
	}
	fmt.Fprintf(&b, "%s %5d %5d %10s %s %s", ModeString(e), e.UID, e.GID, size, Time(e.Mtime).Format("2006-01-02 15:04:05"), quote(path))
	if e.Type == tree.TypeSymlink {
		b.WriteString(" -> ")
		b.WriteString(quote(e.Target))
	}
	return b.String()
}
