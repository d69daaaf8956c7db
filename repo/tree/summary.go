package tree

import "errors"

// MaxSummary is the greatest length of an encoded Summary; what sealing adds
// keeps it below object.MaxSealedPart.
const MaxSummary = 512 << 10

// Summary is the sealed part of a manifest: what is for the eyes of those who
// can list, and not of the store.
type Summary struct {
	Program    string // name and version of the sender
	Hostname   string
	Username   string
	Paths      []string // operands, as far as they fit; any bytes but NUL
	MorePaths  uint64   // how many operands did not fit
	Tags       []string // "key=value" or "word"
	Excludes   []string // patterns, as far as they fit
	Start, End Time     // the sender's clock

	FilesNew, FilesChanged, FilesUnmodified uint64
	DirsNew, DirsChanged, DirsUnmodified    uint64
	Others                                  uint64 // entries that are neither file nor directory
	TotalBytes                              uint64 // sizes of all files, hard links once per name
	Added                                   uint64 // bytes of content new to the store, before compression
	AddedPacked                             uint64 // bytes sent for them
	Errors                                  uint64 // entries that could not be read

	Root *Entry // metadata of the snapshot's topmost folder (name "", no subtree), or nil
}

// Append appends the encoding of s, leaving out paths and patterns that do not
// fit into MaxSummary. UnmarshalSummary is its inverse.
func (s *Summary) Append(dst []byte) ([]byte, error) { return nil, errors.ErrUnsupported }

// UnmarshalSummary parses the plaintext of a manifest's sealed part.
func UnmarshalSummary(b []byte) (*Summary, error) { return nil, errors.ErrUnsupported }
