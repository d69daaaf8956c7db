package restorer

import (
	"fmt"

	"github.com/packnback/packnback/repo/tree"
)

// Overwrite says what becomes of files that are there already.
type Overwrite int

// The values of --overwrite, with restic's meaning.
const (
	Always    Overwrite = iota // replace them
	IfChanged                  // replace those whose size or time differs; metadata is restored anyway
	IfNewer                    // replace those that are older than the snapshot's
	Never                      // leave them alone
)

var overwriteNames = [...]string{Always: "always", IfChanged: "if-changed", IfNewer: "if-newer", Never: "never"}

// String returns the value of --overwrite.
func (o Overwrite) String() string {
	if o < 0 || int(o) >= len(overwriteNames) {
		return fmt.Sprintf("overwrite %d", int(o))
	}
	return overwriteNames[o]
}

// ParseOverwrite is the inverse of String.
func ParseOverwrite(s string) (Overwrite, error) {
	for o, name := range overwriteNames {
		if s == name {
			return Overwrite(o), nil
		}
	}
	return 0, fmt.Errorf("--overwrite %.40q: want always, if-changed, if-newer or never", s)
}

// Options are what a restore does beyond the plain copy. The zero value
// restores everything over what is there.
type Options struct {
	Overwrite Overwrite
	// Select says whether a path, relative to where the restore begins and
	// absolute in form ("/a/b"), is restored, and whether something below it
	// might be. Nil selects everything. It must be safe for concurrent use.
	Select     func(path string) (selected, below bool)
	Sparsely   bool // Select leaves most folders out, so ask for the others singly
	Delete     bool // remove what the snapshot's folders don't have
	DryRun     bool // report what would be done and do nothing
	Verify     bool // read every file again after writing it
	Sparse     bool // make holes of runs of zeros, too
	NumericIDs bool // owners by number only
	// Privileged restores device nodes, set-user-ID and set-group-ID bits of
	// files and security.* attributes when this process is root's.
	Privileged bool
}

// Action says what became of an entry.
type Action int

// The actions.
const (
	Restored  Action = iota // made or replaced
	Unchanged               // was there already as in the snapshot; its metadata was set
	Kept                    // was there already and --overwrite says to leave it
	Deleted                 // is not in the snapshot and was removed
)

var actionNames = [...]string{Restored: "restored", Unchanged: "unchanged", Kept: "kept", Deleted: "deleted"}

// String returns the action as listings show it.
func (a Action) String() string { return actionNames[a] }

// Reporter hears what a restore does, one call at a time. Paths are those of
// Options.Select and may hold any bytes.
type Reporter interface {
	// Done is called for every entry that was dealt with, or would be. e is nil
	// for what was deleted.
	Done(action Action, path string, e *tree.Entry)
	// Lost is called for what could not be restored: exit status 3.
	Lost(path string, err error)
	// Remark is called for what was restored with something of it left out, such
	// as an owner or an attribute that the file system refuses.
	Remark(path string, err error)
	// Wrote is called now and then with bytes of content that were written since
	// the last call.
	Wrote(bytes uint64)
}

// Result counts what a restore did.
type Result struct {
	Files, Dirs, Others uint64 // restored or unchanged
	Kept, Deleted       uint64
	Lost                uint64 // entries that are not there, or not as they should be
	Remarks             uint64
	Bytes               uint64 // of content of Files; hard links count once
	Written             uint64 // of content written now
}
