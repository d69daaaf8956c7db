package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/packnback/packnback/repo/tree"
)

// FilterConfig holds the exclusion flags of backup. The zero value excludes
// nothing.
type FilterConfig struct {
	Exclude   []string // patterns of --exclude and its files
	IExclude  []string // the same, whatever the case of letters
	Caches    bool     // --exclude-caches
	IfPresent []string // NAME or NAME:HEADER, of --exclude-if-present
	Larger    uint64   // leave out regular files of more bytes; 0: none
}

// cacheTag is what marks a cache directory (https://bford.info/cachedir/).
const cacheTag = "CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55"

// Filter decides what a walk leaves out. It is safe for concurrent use.
type Filter struct {
	exclude, iexclude *Patterns
	tags              []tag
	larger            uint64
}

// tag is a file that marks its folder as not worth keeping.
type tag struct {
	name   string
	header []byte // what the file begins with; empty: that it is there is enough
}

// NewFilter compiles c; an error names the flag and the value that makes no
// sense.
func NewFilter(c FilterConfig) (*Filter, error) {
	f := &Filter{larger: c.Larger}
	var err error
	if f.exclude, err = NewPatterns(c.Exclude, false); err != nil {
		return nil, fmt.Errorf("--exclude: %w", err)
	}
	if f.iexclude, err = NewPatterns(c.IExclude, true); err != nil {
		return nil, fmt.Errorf("--iexclude: %w", err)
	}
	specs := c.IfPresent
	if c.Caches {
		specs = append([]string{cacheTag}, specs...)
	}
	for _, spec := range specs {
		name, header, _ := strings.Cut(spec, ":")
		if err := tree.CheckName(name); err != nil {
			return nil, fmt.Errorf("--exclude-if-present %q: %w", spec, err)
		}
		f.tags = append(f.tags, tag{name, []byte(header)})
	}
	return f, nil
}

// byPath reports whether patterns leave out what is at source, an absolute
// path. source is a function because most walks need no path.
func (f *Filter) byPath(source func() string) bool {
	if f == nil || len(f.exclude.list)+len(f.iexclude.list) == 0 {
		return false
	}
	path := source()
	matched, _ := f.exclude.Match(path)
	if !matched {
		matched, _ = f.iexclude.Match(path)
	}
	return matched
}

func (f *Filter) bySize(s *Stat) bool {
	return f != nil && f.larger > 0 && s.Type == tree.TypeFile && s.Size > f.larger
}

// tagged returns the name of a file that marks the folder d, or "". A tag that
// can't be read does not count; the walk reports it when it comes to it.
func (f *Filter) tagged(d *folder) string {
	if f == nil {
		return ""
	}
	for i := range f.tags {
		t := &f.tags[i]
		var st unix.Stat_t
		if unix.Fstatat(d.fd, t.name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			continue
		}
		if len(t.header) == 0 {
			return t.name
		}
		if begins, err := fileBegins(d, t.name, t.header); err == nil && begins {
			return t.name
		}
	}
	return ""
}

func fileBegins(d *folder, name string, header []byte) (bool, error) {
	fd, err := openAt(d.fd, name, openFile)
	if err != nil {
		return false, err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	b := make([]byte, len(header))
	if _, err := io.ReadFull(file, b); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return bytes.Equal(b, header), nil
}
