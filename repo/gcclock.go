package repo

import (
	"errors"
	"io/fs"
	"time"

	"github.com/packnback/packnback/repo/object"
)

// maxAhead is how far the clock may be ahead of the newest time the repository
// has recorded before nobody deletes by it: a week without a backup is more
// likely than a machine that lost its clock, a year is not.
const maxAhead = 7 * 24 * time.Hour

// checkClock refuses to delete by a clock that is behind, or far ahead of, what
// the repository has recorded.
func (r *Repository) checkClock(trust bool) error {
	_, cur, err := r.readCurrent()
	if err != nil || trust || cur.time == 0 {
		return err
	}
	now := r.now()
	recorded := time.Unix(0, cur.time).Format(time.RFC3339)
	switch {
	case now < cur.time-int64(time.Second):
		return object.CodeClock.Errorf("the clock says %s, which is before %s, when the repository last changed; set the clock, or use --trust-clock", time.Unix(0, now).Format(time.RFC3339), recorded)
	case now > cur.time+int64(maxAhead):
		return object.CodeClock.Errorf("the clock says %s, more than %d days after %s, when the repository last changed; if that is right, use --trust-clock", time.Unix(0, now).Format(time.RFC3339), int(maxAhead/(24*time.Hour)), recorded)
	}
	return nil
}

// checkMachines refuses to prune while another machine's upload may be running:
// flock is not to be relied on between machines. A checkpoint is a sign of life.
func (r *Repository) checkMachines() error {
	return r.eachSession(func(id object.SessionID, s *sessionState, err error) error {
		if err != nil || s.machine == r.machine {
			return nil
		}
		seen := s.opened
		if e, err := r.fs.Stat(sessionName(id)); err == nil {
			seen = max(seen, e.ModTime)
		}
		if r.now()-seen >= int64(foreignSession) {
			return nil
		}
		return object.CodeUnsafeLock.Errorf("another machine has an upload of %s/%s in this repository, last heard of %s, and locks can't be relied on between machines; prune on that machine, or %d days after", s.client, s.job,
			time.Unix(0, seen).Format(time.RFC3339), int(foreignSession/(24*time.Hour)))
	})
}

// removeLists unlinks lists that no CURRENT names any more; 0 is none.
func (r *Repository) removeLists(numbers ...uint64) error {
	for _, n := range numbers {
		if n == 0 {
			continue
		}
		if err := r.fs.Remove(listName(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return storeError("removing", listName(n), err)
		}
	}
	return nil
}
