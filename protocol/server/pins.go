package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// Options are what the store's side decides about a connection before the
// client has said anything.
type Options struct {
	Mode       Mode
	Blind      bool
	Client     string   // the only client uploads may carry; empty: any
	Jobs       []string // the only jobs uploads may carry; empty: any
	Quota      uint64   // bytes the client may occupy; 0 not limited
	Repository string   // folder of the repository; empty: the client says
	Beneath    string   // folder that the repository must lie in; empty: anywhere
	Idle       time.Duration
}

// Check reports options that make no sense together.
func (o *Options) Check() error {
	if o.Mode == WriteOnly && o.Client == "" {
		return object.CodeInvalid.Errorf("write-only needs a client name to pin uploads to")
	}
	if o.Client != "" {
		if err := object.CheckName("client", o.Client); err != nil {
			return object.CodeInvalid.Errorf("%w", err)
		}
	}
	if len(o.Jobs) > protocol.MaxJobs {
		return object.CodeInvalid.Errorf("%d jobs, the limit is %d", len(o.Jobs), protocol.MaxJobs)
	}
	for _, j := range o.Jobs {
		if err := object.CheckName("job", j); err != nil {
			return object.CodeInvalid.Errorf("%w", err)
		}
	}
	if o.Idle < 0 || (o.Idle > 0 && o.Idle < time.Second) {
		return object.CodeInvalid.Errorf("idle timeout %v is below a second", o.Idle)
	}
	return nil
}

// jobs returns the pinned jobs as Welcome wants them.
func (o *Options) jobs() []string {
	jobs := slices.Clone(o.Jobs)
	slices.Sort(jobs)
	return slices.Compact(jobs)
}

// request compares what the client asks to upload with what is pinned.
func (o *Options) request(m *protocol.Open) (Request, error) {
	if o.Client != "" && m.Client != o.Client {
		return Request{}, object.CodeDenied.Errorf("this connection is for client %q, the send key says %q", o.Client, m.Client)
	}
	if len(o.Jobs) > 0 && !slices.Contains(o.Jobs, m.Job) {
		return Request{}, object.CodeDenied.Errorf("job %q is not among those permitted here: %s", m.Job, strings.Join(o.jobs(), ", "))
	}
	return Request{Client: m.Client, Job: m.Job, Base: m.Base, Quota: o.Quota, Blind: o.Blind}, nil
}

// folder decides which repository a client that names path gets.
func (o *Options) folder(path string) (string, error) {
	if o.Repository != "" {
		if err := o.samePlace(path); err != nil {
			return "", err
		}
		if o.Beneath == "" {
			return o.Repository, nil
		}
		path = o.Repository
	}
	if path == "" {
		return "", object.CodeInvalid.Errorf("no repository named: add its path to the address, as in ssh://host/path")
	}
	if o.Beneath == "" {
		return path, nil
	}
	return beneath(o.Beneath, path)
}

// samePlace refuses a path other than the pinned one. It doesn't look at the
// disk: whether some other path exists is not the client's business.
func (o *Options) samePlace(path string) error {
	if path == "" {
		return nil
	}
	want, err := filepath.Abs(o.Repository)
	if err != nil {
		return fmt.Errorf("finding the current folder: %w", err)
	}
	got, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("finding the current folder: %w", err)
	}
	if got != want {
		return object.CodeDenied.Errorf("this connection is pinned to another repository than %q; leave the path out to use it", path)
	}
	return nil
}

// beneath returns path, taken relative to root and with all symbolic links
// resolved, if it lies in root. A path that doesn't exist yet is resolved as
// far as it does.
func beneath(root, path string) (string, error) {
	denied := object.CodeDenied.Errorf("repository %q is not beneath the folder this connection is restricted to", path)
	root, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("finding the current folder: %w", err)
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return "", fmt.Errorf("resolving the folder this connection is restricted to: %w", err)
	}
	full := filepath.Clean(path)
	if !filepath.IsAbs(full) {
		full = filepath.Join(root, full)
	}
	resolved, err := resolve(full)
	if err != nil {
		return "", denied
	}
	if rel, err := filepath.Rel(root, resolved); err != nil || !filepath.IsLocal(rel) {
		return "", denied
	}
	return resolved, nil
}

// resolve resolves the symbolic links of as much of the absolute path as
// exists. A link that leads nowhere is an error.
func resolve(path string) (string, error) {
	var rest []string
	for {
		_, err := os.Lstat(path)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return "", err
		}
		rest = append(rest, filepath.Base(path))
		path = filepath.Dir(path)
	}
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	slices.Reverse(rest)
	return filepath.Join(append([]string{path}, rest...)...), nil
}
