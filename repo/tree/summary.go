package tree

import (
	"encoding/binary"
	"fmt"
)

// MaxSummary is the greatest length of an encoded Summary; what sealing adds
// keeps it below object.MaxSealedPart.
const MaxSummary = 512 << 10

const (
	maxSummaryText  = 4096    // bytes of the program, host and user name, and of each tag
	maxSummaryItems = 1 << 16 // paths, tags or patterns
	tagBudget       = 64 << 10

	// The root's attributes have MaxXattrBytes, the tags tagBudget; paths and
	// patterns have each half of what is left after the other fields.
	listBudget = (MaxSummary - MaxXattrBytes - tagBudget - 3*maxSummaryText - 16<<10) / 2
)

// Summary is the sealed part of a manifest: what is for the eyes of those who
// can list, and not of the store.
type Summary struct {
	Program    string // name and version of the sender
	Hostname   string
	Username   string
	Paths      []string // operands, as far as they fit
	MorePaths  uint64   // how many operands did not fit
	Tags       []string // "key=value" or "word"
	Excludes   []string // patterns, as far as they fit
	Start, End Time     // the sender's clock

	FilesNew, FilesChanged, FilesUnmodified uint64
	DirsNew, DirsChanged, DirsUnmodified    uint64
	Others                                  uint64 // entries that are neither file nor directory
	TotalBytes                              uint64 // sizes of all files, once for each name
	Added                                   uint64 // bytes of content new to the store, before compression
	AddedPacked                             uint64 // bytes sent for them
	Errors                                  uint64 // entries that could not be read

	// Root is the metadata of the snapshot's topmost folder, which is in no
	// directory, or nil: a TypeDir entry whose name is empty, whose subtree is
	// zero, and that has no atime and no link id.
	Root *Entry
}

// counters lists the numbers of s in the order of the format.
func (s *Summary) counters() [11]*uint64 {
	return [...]*uint64{&s.FilesNew, &s.FilesChanged, &s.FilesUnmodified, &s.DirsNew, &s.DirsChanged, &s.DirsUnmodified,
		&s.Others, &s.TotalBytes, &s.Added, &s.AddedPacked, &s.Errors}
}

// Append appends the encoding of s; UnmarshalSummary is its inverse. Paths that
// would take more than MaxSummary allows are counted in MorePaths instead, and
// patterns that would are left out. What can't be left out gives a LimitError.
func (s *Summary) Append(dst []byte) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("summary: %w", err)
	}
	start := len(dst)
	dst = append(dst, magicSummary[:]...)
	for _, text := range [...]string{s.Program, s.Hostname, s.Username} {
		dst = appendString(dst, text)
	}
	paths := fitting(s.Paths, listBudget)
	dst = appendStrings(dst, paths)
	dst = binary.AppendUvarint(dst, s.MorePaths+uint64(len(s.Paths)-len(paths)))
	dst = appendStrings(dst, s.Tags)
	dst = appendStrings(dst, fitting(s.Excludes, listBudget))
	dst = appendTime(appendTime(dst, s.Start), s.End)
	for _, n := range s.counters() {
		dst = binary.AppendUvarint(dst, *n)
	}
	if s.Root == nil {
		dst = append(dst, 0)
	} else {
		dst = appendRoot(append(dst, 1), s.Root)
	}
	if len(dst)-start > MaxSummary {
		return nil, &LimitError{What: "summary", Size: len(dst) - start, Limit: MaxSummary}
	}
	return dst, nil
}

func appendTime(dst []byte, t Time) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.Sec))
	return binary.BigEndian.AppendUint32(dst, t.Nsec)
}

func appendStrings(dst []byte, list []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, s := range list {
		dst = appendString(dst, s)
	}
	return dst
}

func appendRoot(dst []byte, e *Entry) []byte {
	for _, v := range [...]uint32{e.Mode, e.UID, e.GID} {
		dst = binary.AppendUvarint(dst, uint64(v))
	}
	dst = appendString(appendString(dst, e.User), e.Group)
	return appendXattrs(appendTime(dst, e.Mtime), e.Xattrs)
}

// fitting returns as many of list as take at most budget bytes, each counted
// with 4 for its length.
func fitting(list []string, budget int) []string {
	for i, s := range list {
		if budget -= len(s) + 4; budget < 0 || i == maxSummaryItems {
			return list[:i]
		}
	}
	return list
}

func (s *Summary) check() error {
	for _, text := range append([]string{s.Program, s.Hostname, s.Username}, s.Tags...) {
		if len(text) > maxSummaryText {
			return &LimitError{What: "tag, host or user name", Size: len(text), Limit: maxSummaryText}
		}
	}
	if n := len(fitting(s.Tags, tagBudget)); n < len(s.Tags) {
		return &LimitError{What: "number of tags", Size: len(s.Tags), Limit: n}
	}
	if s.Start.Nsec > maxNsec || s.End.Nsec > maxNsec {
		return fmt.Errorf("times %v and %v make no sense", s.Start, s.End)
	}
	if s.Root == nil {
		return nil
	}
	e := s.Root
	if e.Name != "" || e.Type != TypeDir || !e.Subtree.IsZero() || e.HasAtime || e.LinkID != 0 || len(e.Extents) > 0 || e.Mtime.Nsec > maxNsec {
		return fmt.Errorf("topmost folder %q has what it can't have", e.Name)
	}
	if err := e.checkOwner(); err != nil {
		return err
	}
	return checkXattrs(e.Xattrs)
}

// UnmarshalSummary parses the plaintext of a manifest's sealed part. Errors
// wrap object.ErrMalformed.
func UnmarshalSummary(b []byte) (*Summary, error) {
	if len(b) > MaxSummary {
		return nil, malformed("summary of %d bytes is over the limit of %d", len(b), MaxSummary)
	}
	d := &decoder{b: b}
	if d.magic() != magicSummary {
		return nil, malformed("not a version 1 summary")
	}
	s := new(Summary)
	for _, p := range [...]*string{&s.Program, &s.Hostname, &s.Username} {
		*p = d.string("name", maxSummaryText)
	}
	s.Paths = readStrings(d, "path")
	s.MorePaths = d.uvarint()
	s.Tags = readStrings(d, "tag")
	s.Excludes = readStrings(d, "pattern")
	s.Start, s.End = readTime(d), readTime(d)
	for _, p := range s.counters() {
		*p = d.uvarint()
	}
	switch has := d.uint8(); has {
	case 0:
	case 1:
		s.Root = readRoot(d)
	default:
		d.fail("root flag %d", has)
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, malformed("summary: %w", err)
	}
	if len(fitting(s.Paths, listBudget)) < len(s.Paths) || len(fitting(s.Excludes, listBudget)) < len(s.Excludes) {
		return nil, malformed("summary: paths or patterns take more than %d bytes", listBudget)
	}
	return s, nil
}

func readTime(d *decoder) Time { return Time{Sec: int64(d.uint64()), Nsec: d.uint32()} }

func readStrings(d *decoder, what string) []string {
	n := d.count("number of "+what+"s", maxSummaryItems)
	if n > len(d.b) { // each has a length of at least one byte
		d.fail("truncated")
	}
	if d.err != nil || n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = d.string(what, MaxSummary)
	}
	return list
}

func readRoot(d *decoder) *Entry {
	e := &Entry{Type: TypeDir, Mode: uint32(d.count("mode", ModeMask)), UID: d.uint32var("uid"), GID: d.uint32var("gid")}
	e.User, e.Group = d.string("user name", MaxUserName), d.string("group name", MaxUserName)
	e.Mtime = readTime(d)
	e.Xattrs = readXattrs(d, 0)
	return e
}
