package source

// Options are the choices of a walk; the zero value walks everything.
type Options struct {
	Filter        *Filter       // what to leave out; nil: nothing
	OneFileSystem bool          // stay on the file systems of the operands
	Workers       int           // goroutines that look ahead; 0: one for each processor, at most 8
	Skip          []Place       // folders left out with a note: the repository's own
	TempDir       string        // where the names of a huge folder are sorted; "": os.TempDir
	Report        func(Problem) // told about everything left out for a reason; may be nil. Called in path order, never concurrently
}

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
