package source

import (
	"errors"
	"io"
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

// Filter decides what a walk leaves out. It is safe for concurrent use.
type Filter struct{}

// NewFilter compiles c; an error names the pattern that makes no sense.
func NewFilter(c FilterConfig) (*Filter, error) { return nil, errors.ErrUnsupported }

// Patterns is a list of patterns with restic's meaning, as of --exclude. It is
// safe for concurrent use.
type Patterns struct{}

// NewPatterns compiles a list; fold ignores the case of letters.
func NewPatterns(list []string, fold bool) (*Patterns, error) { return nil, errors.ErrUnsupported }

// Match reports whether path, which is absolute, matches; child says whether
// something below it might.
func (p *Patterns) Match(path string) (matched, child bool) { return false, true }

// ReadPatterns reads the lines of an exclude file: one pattern each, blank
// lines and those that begin with # left out, $NAME and ${NAME} replaced by
// what lookup returns, $$ by $.
func ReadPatterns(r io.Reader, lookup func(string) string) ([]string, error) {
	return nil, errors.ErrUnsupported
}

// ReadGlobs reads --files-from: one pattern a line, blank lines and those that
// begin with # left out, expanded against the file system.
func ReadGlobs(r io.Reader) ([]string, error) { return nil, errors.ErrUnsupported }

// ReadVerbatim reads --files-from-verbatim: one path a line, taken as it is.
func ReadVerbatim(r io.Reader) ([]string, error) { return nil, errors.ErrUnsupported }

// ReadRaw reads --files-from-raw: paths that each end with a NUL.
func ReadRaw(r io.Reader) ([]string, error) { return nil, errors.ErrUnsupported }
