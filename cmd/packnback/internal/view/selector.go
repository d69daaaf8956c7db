package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/packnback/packnback/repo/object"
)

// Limits of a SNAP operand.
const (
	minPrefix   = 4 // hex digits of an id; fewer say too little to be meant
	maxSelector = 1 << 20
	// maxNamed bounds how many candidates an error lists.
	maxNamed = 16
)

// ErrSelector is wrapped by the error of ParseSelector: wrong usage.
var ErrSelector = errors.New("not a snapshot")

// Selector is a parsed SNAP or SNAP:/path operand.
type Selector struct {
	// Prefix is the beginning of the snapshot's id, 4 to 64 lower-case hex
	// digits; empty means "latest".
	Prefix string
	// Path is the folder or file inside the snapshot: absolute, cleaned, "/"
	// for the root; empty when the operand has no path.
	Path string
}

// ParseSelector reads `ID`, `latest`, `ID:/path` or `latest:/path`. The path
// may hold any bytes but NUL, and no "..". Its error wraps ErrSelector.
func ParseSelector(s string) (Selector, error) {
	var sel Selector
	if len(s) > maxSelector {
		return sel, fmt.Errorf("%w: %d characters", ErrSelector, len(s))
	}
	name, path, hasPath := strings.Cut(s, ":")
	if name != "latest" {
		if len(name) < minPrefix || len(name) > 2*object.IDSize || strings.Trim(name, "0123456789abcdefABCDEF") != "" {
			return sel, fmt.Errorf("%w: %.80q is neither \"latest\" nor at least %d hex digits of an id", ErrSelector, name, minPrefix)
		}
		sel.Prefix = strings.ToLower(name)
	}
	if !hasPath {
		return sel, nil
	}
	if !strings.HasPrefix(path, "/") {
		return sel, fmt.Errorf("%w: the path in %.80q must begin with a slash", ErrSelector, s)
	}
	var err error
	if sel.Path, err = CleanPath(path); err != nil {
		return sel, err
	}
	return sel, nil
}

// String is the inverse of ParseSelector.
func (s Selector) String() string {
	name := s.Prefix
	if name == "" {
		name = "latest"
	}
	if s.Path == "" {
		return name
	}
	return name + ":" + s.Path
}

// CleanPath brings a path inside a snapshot into the form "/a/b": one slash
// before each name, none at the end, "/" for the root. It refuses ".." and NUL.
func CleanPath(path string) (string, error) {
	var b strings.Builder
	for name := range strings.SplitSeq(path, "/") {
		switch {
		case name == "" || name == ".":
			continue
		case name == "..":
			return "", fmt.Errorf("%w: the path %.80q goes up with \"..\"", ErrSelector, path)
		case strings.IndexByte(name, 0) >= 0:
			return "", fmt.Errorf("%w: the path %.80q has a NUL byte", ErrSelector, path)
		}
		b.WriteByte('/')
		b.WriteString(name)
	}
	if b.Len() == 0 {
		return "/", nil
	}
	return b.String(), nil
}

// Narrow restricts which snapshots "latest" may mean. Empty fields allow all.
type Narrow struct{ Client, Job string }

// Match reports whether n allows snapshots with manifest m.
func (n Narrow) Match(m *object.Manifest) bool {
	return (n.Client == "" || n.Client == m.Client) && (n.Job == "" || n.Job == m.Job)
}

// AmbiguousError says that an operand fits several snapshots, or that "latest"
// fits several clients: a hostile client must never become "latest" unasked.
type AmbiguousError struct {
	Operand string
	Clients []string    // sorted; set when the operand is "latest"
	IDs     []object.ID // set when it is a prefix
	More    bool        // there are further candidates
}

// Error names the candidates.
func (e *AmbiguousError) Error() string {
	var names []string
	what := "snapshots of several clients"
	if len(e.IDs) > 0 {
		what = "several snapshots"
		for _, id := range e.IDs {
			names = append(names, id.String()[:16])
		}
	}
	names = append(names, e.Clients...)
	if e.More {
		names = append(names, "…")
	}
	return fmt.Sprintf("%q matches %s: %s", e.Operand, what, strings.Join(names, ", "))
}

// Resolve finds the one snapshot that sel names, as Find does, and checks its
// signature. Snapshots that can't be read don't hide the others: beside what was
// found, unread is the error of those, of object.CodeDamaged. Then "latest" may be
// an older one than it should, which the caller must tell.
func Resolve(ctx context.Context, store Snapshots, sel Selector, only Narrow) (found *object.Snapshot, unread, err error) {
	found, unread, err = find(ctx, store, sel, only)
	if err == nil {
		err = found.Manifest.Verify()
	}
	if err != nil {
		return nil, nil, err
	}
	return found, unread, nil
}

// Find finds the one snapshot that sel names, for those who only want to be rid
// of it or to keep it: its signature may be bad. It returns an *AmbiguousError
// when there are several, and a StoreError of object.CodeNotFound when there is
// none. Where any snapshot can't be read it finds none: what is to be forgotten is
// not decided by half a list.
func Find(ctx context.Context, store Snapshots, sel Selector, only Narrow) (*object.Snapshot, error) {
	found, unread, err := find(ctx, store, sel, only)
	if err = cmp.Or(err, unread); err != nil {
		return nil, err
	}
	return found, nil
}

func find(ctx context.Context, store Snapshots, sel Selector, only Narrow) (found *object.Snapshot, unread, err error) {
	if sel.Prefix == "" {
		found, err = latest(ctx, store, only)
	} else {
		found, err = byPrefix(ctx, store, sel.Prefix)
	}
	switch {
	case found != nil && errors.Is(err, object.CodeDamaged):
		return found, err, nil
	case err != nil:
		return nil, nil, err
	case found == nil:
		return nil, nil, object.CodeNotFound.Errorf("no snapshot matches %s", describe(sel, only))
	}
	return found, nil, nil
}

// listed is the error of a listing.
func listed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("listing snapshots: %w", err)
}

func describe(sel Selector, only Narrow) string {
	sel.Path = ""
	s := fmt.Sprintf("%q", sel.String())
	if sel.Prefix == "" && only.Client != "" {
		s += fmt.Sprintf(" of client %q", only.Client)
	}
	if sel.Prefix == "" && only.Job != "" {
		s += fmt.Sprintf(" of job %q", only.Job)
	}
	return s
}

// latest returns the newest snapshot, also beside an error of object.CodeDamaged.
func latest(ctx context.Context, store Snapshots, only Narrow) (*object.Snapshot, error) {
	var newest *object.Snapshot
	clients := map[string]bool{} // at most maxNamed+1 names
	err := store.Snapshots(ctx, func(s *object.Snapshot) error {
		if !only.Match(s.Manifest) {
			return nil
		}
		if len(clients) <= maxNamed {
			clients[s.Manifest.Client] = true
		}
		if newest == nil || s.Received > newest.Received {
			newest = s
		}
		return nil
	})
	if err != nil && !errors.Is(err, object.CodeDamaged) {
		return nil, listed(err)
	}
	if len(clients) > 1 {
		e := &AmbiguousError{Operand: "latest"}
		for c := range clients {
			e.Clients = append(e.Clients, c)
		}
		sort.Strings(e.Clients)
		if e.More = len(e.Clients) > maxNamed; e.More {
			e.Clients = e.Clients[:maxNamed]
		}
		return nil, e
	}
	return newest, listed(err)
}

// byPrefix returns the snapshot, also beside an error of object.CodeDamaged.
func byPrefix(ctx context.Context, store Snapshots, prefix string) (*object.Snapshot, error) {
	var found *object.Snapshot
	amb := &AmbiguousError{Operand: prefix}
	err := store.Snapshots(ctx, func(s *object.Snapshot) error {
		id := s.ID()
		if !strings.HasPrefix(id.String(), prefix) || slices.Contains(amb.IDs, id) {
			return nil
		}
		if len(amb.IDs) == maxNamed {
			amb.More = true
			return nil
		}
		amb.IDs = append(amb.IDs, id)
		found = s
		return nil
	})
	if err != nil && !errors.Is(err, object.CodeDamaged) {
		return nil, listed(err)
	}
	if len(amb.IDs) > 1 {
		return nil, amb
	}
	return found, listed(err)
}
