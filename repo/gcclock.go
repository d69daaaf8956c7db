package repo

import (
	"errors"
	"io/fs"
	"syscall"
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
// flock is not to be relied on between machines.
func (r *Repository) checkMachines() error {
	return r.eachSession(func(id object.SessionID, s *sessionState, err error) error {
		if err != nil || s.machine == r.machine || r.now()-s.opened >= int64(foreignSession) {
			return nil
		}
		return object.CodeUnsafeLock.Errorf("another machine has an upload of %s/%s in this repository, begun %s, and locks can't be relied on between machines; prune on that machine, or %d days after", s.client, s.job,
			time.Unix(0, s.opened).Format(time.RFC3339), int(foreignSession/(24*time.Hour)))
	})
}

// withReserve runs work and, if the disk is full, runs it again with the
// reserve given up, which is made anew afterwards if there is room.
func (r *Repository) withReserve(work func() error) error {
	err := work()
	if !errors.Is(err, object.CodeNoSpace) && !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(err, r.restoreReserve())
	}
	if e := r.fs.Remove(reserveName); errors.Is(e, fs.ErrNotExist) {
		return err
	} else if e != nil {
		return storeError("removing", reserveName, e)
	}
	return errors.Join(work(), r.restoreReserve())
}

// restoreReserve makes the reserve file again where it is missing and fits. That
// it doesn't is no failure of the work that needed it.
func (r *Repository) restoreReserve() error {
	there, err := exists(r.fs, reserveName)
	if err != nil || there {
		return err
	}
	if err := r.replaceFile(reserveName, reserveContent()); err != nil {
		if e := r.fs.Remove(reserveName + newSuffix); e != nil && !errors.Is(e, fs.ErrNotExist) {
			return storeError("removing", reserveName+newSuffix, e)
		}
		if !errors.Is(err, object.CodeNoSpace) {
			return err
		}
	}
	return nil
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
