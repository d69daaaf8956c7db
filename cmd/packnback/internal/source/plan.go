package source

import (
	"context"
	"errors"
)

// Plan is what to walk: the operands of one backup, put into one tree.
type Plan struct{}

// NewPlan puts operands into a plan; relative ones are below workdir, which is
// absolute. It touches no file system. Two operands that would be stored under
// one path without being the same are an error.
func NewPlan(workdir string, operands []string) (*Plan, error) { return nil, errors.ErrUnsupported }

// Options are the choices of a walk; the zero value walks everything.
type Options struct {
	Filter        *Filter       // what to leave out; nil: nothing
	OneFileSystem bool          // stay on the file systems of the operands
	Workers       int           // goroutines that look ahead; 0: one for each processor, at most 8
	Skip          []Place       // folders left out with a note: the repository's own
	TempDir       string        // where the names of a huge folder are sorted; "": os.TempDir
	Report        func(Problem) // told about everything left out for a reason; may be nil. Called in path order, never concurrently
}

// Place identifies a folder whatever its path.
type Place struct{ Dev, Ino uint64 }

// ProblemKind says how bad a Problem is.
type ProblemKind int

// The kinds of problem. Only Unread and Vanished make a backup incomplete.
const (
	Unread   ProblemKind = iota // could not be read
	Vanished                    // was there when its folder was listed, and no longer
	Skipped                     // left out on purpose: a socket, the repository itself
)

// Problem is something a walk could not or would not deliver.
type Problem struct {
	Kind ProblemKind
	Path string // on this machine, for people
	Err  error
}

// Walk calls yield for everything in the plan, in the order of
// tree.ComparePaths: a folder's Enter, what is in it by ascending names, its
// Leave. Errors of single entries are reported and the walk goes on; an error
// of yield, of an operand that is not there at all, or the end of ctx ends it.
func (p *Plan) Walk(ctx context.Context, opt Options, yield func(*Item) error) error {
	return errors.ErrUnsupported
}
