package mount

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/object"
)

// shown is a snapshot in the list, about 200 bytes.
type shown struct {
	id          object.ID
	client, job string
	received    time.Time
}

// name is the snapshot's folder in snapshots/.
func (s *shown) name() string { return s.id.String()[:16] }

// when is the snapshot's folder in clients/CLIENT/JOB/: the time it was
// received, in an order that sorts, with its id because times may repeat.
func (s *shown) when() string {
	return s.received.UTC().Format("2006-01-02T15-04-05Z") + "-" + s.id.Short()
}

// list is the list of snapshots, read anew when it is old.
type list struct {
	store  view.Snapshots
	only   view.Narrow
	refuse func(*object.Snapshot) error
	warn   func(string, error)

	mu      sync.Mutex
	all     []shown // oldest first
	read    time.Time
	refused map[object.ID]bool // told already
	partial bool               // told already that some can't be read
}

// snapshots returns the list, oldest first. It must not be changed.
func (l *list) snapshots(ctx context.Context) ([]shown, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.read.IsZero() && time.Since(l.read) < refreshAfter {
		return l.all, nil
	}
	var all []shown
	err := l.store.Snapshots(ctx, func(s *object.Snapshot) error {
		if !l.only.Match(s.Manifest) || l.refuses(s) {
			return nil
		}
		m := s.Manifest
		all = append(all, shown{s.ID(), m.Client, m.Job, time.Unix(0, s.Received)})
		return nil
	})
	if errors.Is(err, object.CodeDamaged) && len(all) > 0 {
		// Files that can't be read don't hide the others.
		if !l.partial {
			l.warn("/", fmt.Errorf("listing snapshots: %w (what is called latest may be older than it should)", err))
		}
		l.partial, err = true, nil
	}
	if err != nil {
		if !l.read.IsZero() {
			l.warn("/", fmt.Errorf("listing snapshots: %w", err))
			return l.all, nil // what was known is better than nothing
		}
		return nil, fmt.Errorf("listing snapshots: %w", err)
	}
	l.all, l.read = all, time.Now()
	return l.all, nil
}

// refuses reports whether s is left out, and tells why once. l.mu is held.
func (l *list) refuses(s *object.Snapshot) bool {
	err := s.Manifest.Verify()
	if err == nil && l.refuse != nil {
		err = l.refuse(s)
	}
	if err == nil {
		return false
	}
	id := s.ID()
	if l.refused == nil {
		l.refused = map[object.ID]bool{}
	}
	if !l.refused[id] {
		l.refused[id] = true
		l.warn("/snapshots/"+id.String()[:16], err)
	}
	return true
}

// clients returns the names of the clients that have snapshots, sorted.
func clients(all []shown) []string {
	return distinct(all, func(s *shown) (string, bool) { return s.client, true })
}

// jobs returns the names of a client's jobs, sorted.
func jobs(all []shown, client string) []string {
	return distinct(all, func(s *shown) (string, bool) { return s.job, s.client == client })
}

func distinct(all []shown, name func(*shown) (string, bool)) []string {
	var names []string
	for i := range all {
		if n, ok := name(&all[i]); ok {
			if at, found := slices.BinarySearch(names, n); !found {
				names = slices.Insert(names, at, n)
			}
		}
	}
	return names
}

// newest returns the newest snapshot that match selects, or nil.
func newest(all []shown, match func(*shown) bool) *shown {
	for i := len(all) - 1; i >= 0; i-- {
		if match(&all[i]) {
			return &all[i]
		}
	}
	return nil
}
