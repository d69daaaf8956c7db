package repo

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/retention"
)

// ForgetOptions are the choices of Forget and ApplyPolicy.
type ForgetOptions struct {
	IgnoreUnusual  bool // forget what an unusual snapshot protects, too
	AllowRemoveAll bool // a policy may forget every snapshot of a client and job
	TrustClock     bool // the clock is right, whatever the repository has recorded
	DryRun         bool // change nothing
}

// Group is what a policy says of the snapshots of one client and job.
type Group struct {
	Client, Job string
	Policy      retention.Policy
	Decisions   []retention.Decision // newest first
}

// Forget moves snapshots to the trash, from which Unforget brings them back
// until a prune finds their grace over. CodeBraked refuses those younger than
// min-age and those that an unusual snapshot protects, before anything is moved.
func (r *Repository) Forget(ctx context.Context, ids []object.ID, opt ForgetOptions) error {
	if err := r.checkClock(opt.TrustClock); err != nil {
		return err
	}
	frozen, err := r.frozen(ctx, opt)
	if err != nil {
		return err
	}
	for _, id := range ids {
		s, err := r.Snapshot(ctx, id)
		if err != nil {
			return err
		}
		if err := r.checkBrake(s, frozen[chainOf(s)]); err != nil {
			return err
		}
	}
	if opt.DryRun {
		return nil
	}
	return r.forgetAll(ctx, ids)
}

// chain names a client and job.
type chain struct{ client, job string }

func chainOf(s *object.Snapshot) chain { return chain{s.Manifest.Client, s.Manifest.Job} }

// frozen returns the oldest unusual snapshot of every client and job that has
// one: it and what was received before it is kept.
func (r *Repository) frozen(ctx context.Context, opt ForgetOptions) (map[chain]*object.Snapshot, error) {
	oldest := map[chain]*object.Snapshot{}
	if opt.IgnoreUnusual {
		return oldest, nil
	}
	err := r.eachSnapshot(ctx, "snapshots", func(s *object.Snapshot) error {
		if oldest[chainOf(s)] == nil && s.Flags.Unusual() {
			s.Sealed = nil // may be large, and nobody asks for it
			oldest[chainOf(s)] = s
		}
		return nil
	})
	return oldest, err
}

// checkBrake refuses to forget by hand what no policy would; unusual is the
// oldest unusual snapshot of the same client and job, or nil.
func (r *Repository) checkBrake(s, unusual *object.Snapshot) error {
	minAge := r.duration(settingMinAge)
	if age := time.Duration(r.now() - s.Received); age < minAge {
		return object.CodeBraked.Errorf("snapshot %s is %s old; nothing younger than %s is forgotten (setting %s)", s.ID().Short(), age.Round(time.Second), r.value(settingMinAge), settingMinAge)
	}
	if unusual == nil || s.Received > unusual.Received {
		return nil
	}
	return object.CodeBraked.Errorf("snapshot %s is kept because of snapshot %s, which is unusual; look at that one, then run `packnback acknowledge %s`, or use --ignore-unusual", s.ID().Short(), unusual.ID().Short(), unusual.ID().Short())
}

// forgetAll forgets one after the other. On a full disk it goes on with the one
// that didn't fit: those before it are in the trash and would not be found again.
func (r *Repository) forgetAll(ctx context.Context, ids []object.ID) error {
	return r.withReserve(func() error {
		for ; len(ids) > 0; ids = ids[1:] {
			if err := r.forgetOne(ctx, ids[0]); err != nil {
				return err
			}
		}
		return r.syncDirs("snapshots")
	})
}

// forgetOne gives a snapshot a durable place in the trash before it takes the
// other one away: a crash leaves it in one of them or in both, never in none.
func (r *Repository) forgetOne(ctx context.Context, id object.ID) error {
	return r.withSnapshot(ctx, "snapshots", id, func(s *object.Snapshot) error {
		s.Flags |= object.FlagForgotten
		s.Forgotten = max(r.now(), s.Received)
		return r.move(s, "snapshots", "trash")
	})
}

// move puts the changed snapshot s into another folder. That it has left the old
// one is not durable yet.
func (r *Repository) move(s *object.Snapshot, from, to string) error {
	if err := r.replaceFile(snapshotName(to, s.ID()), s.Append(nil)); err != nil {
		return err
	}
	name := snapshotName(from, s.ID())
	if err := r.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storeError("removing", name, err)
	}
	return nil
}

// withSnapshot calls change with a snapshot of a folder, under gc.lock and the
// lock of its job's head, which is taken forward first: a snapshot whose commit
// was cut off before the head knew it must not vanish from the chain.
func (r *Repository) withSnapshot(ctx context.Context, folder string, id object.ID, change func(*object.Snapshot) error) error {
	gc, err := r.lockGC(ctx, shared)
	if err != nil {
		return err
	}
	defer gc.Unlock()
	s, err := r.readSnapshot(folder, id)
	if errors.Is(err, fs.ErrNotExist) {
		return noSnapshot(id)
	}
	if err != nil {
		return err
	}
	lock, err := r.lockHead(ctx, s.Manifest.Client, s.Manifest.Job)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if _, err := r.currentHead(s.Manifest.Client, s.Manifest.Job); err != nil {
		return err
	}
	// Somebody else may have changed it before the lock was ours.
	if s, err = r.readSnapshot(folder, id); errors.Is(err, fs.ErrNotExist) {
		return noSnapshot(id)
	} else if err != nil {
		return err
	}
	return change(s)
}

// Trash yields the snapshots in the trash, oldest received first.
func (r *Repository) Trash(ctx context.Context, yield func(*object.Snapshot) error) error {
	return r.eachSnapshot(ctx, "trash", yield)
}

// Unforget brings a snapshot back from the trash. CodeNotFound says that it
// isn't there (any more).
func (r *Repository) Unforget(ctx context.Context, id object.ID) error {
	moved := false
	return r.withReserve(func() error {
		for try := 0; !moved; try++ {
			generation, err := r.checkWhole(ctx, id)
			if err != nil {
				return err
			}
			err = r.withSnapshot(ctx, "trash", id, func(s *object.Snapshot) error {
				_, cur, err := r.readCurrent()
				if err != nil {
					return err
				}
				if cur.generation != generation {
					if try < maxRechecks {
						return nil // look again without the lock
					}
					if _, err := r.checkWhole(ctx, id); err != nil {
						return err
					}
				}
				s.Flags &^= object.FlagForgotten
				s.Forgotten = 0
				err = r.move(s, "trash", "snapshots")
				moved = err == nil
				return err
			})
			if err != nil {
				return err
			}
		}
		return r.syncDirs("trash")
	})
}

// checkWhole checks that everything the snapshot reaches is there and stays,
// and returns the generation for which that holds.
func (r *Repository) checkWhole(ctx context.Context, id object.ID) (generation uint64, err error) {
	v, err := r.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, v.release()) }()
	lost := 0
	m, err := newMarker(v, func(object.ID, object.ID) { lost++ })
	if err != nil {
		return 0, err
	}
	if err := m.markSnapshot(id); err != nil {
		return 0, err
	}
	if err := m.run(ctx); err != nil {
		return 0, err
	}
	for position := range m.reached.All(0, v.set.Len()) {
		e, err := v.set.Entry(position)
		if err != nil {
			return 0, damaged("the index", err, repairCommand)
		}
		if c, err := v.condition(e.Location); err != nil {
			return 0, err
		} else if c == deleting {
			lost++
		}
	}
	if lost > 0 {
		return 0, object.CodeDamaged.Errorf("snapshot %s can't be brought back: %d objects that it needs are gone", id.Short(), lost)
	}
	return v.cur.generation, nil
}

// Acknowledge takes the unusual flag off a snapshot: an administrator has looked
// at it, and policies may go on.
func (r *Repository) Acknowledge(ctx context.Context, id object.ID) error {
	return r.withSnapshot(ctx, "snapshots", id, func(s *object.Snapshot) error {
		if !s.Flags.Unusual() {
			return object.CodeInvalid.Errorf("snapshot %s is not flagged as unusual", id.Short())
		}
		s.Flags |= object.FlagCleared
		return r.replaceFile(snapshotName("snapshots", id), s.Append(nil))
	})
}

// ApplyPolicy forgets what a policy doesn't keep, for each client and job by
// itself; policy returns the one for a client and job, and whether it applies to
// them at all. What was decided is returned, with DryRun too. CodeBraked refuses
// to forget all snapshots of a client and job, before anything is moved.
func (r *Repository) ApplyPolicy(ctx context.Context, policy func(client, job string) (p retention.Policy, applies bool), opt ForgetOptions) ([]Group, error) {
	if err := r.checkClock(opt.TrustClock); err != nil {
		return nil, err
	}
	groups, err := r.decide(ctx, policy, opt)
	if err != nil {
		return nil, err
	}
	var ids []object.ID
	for _, g := range groups {
		before := len(ids)
		for _, d := range g.Decisions {
			if !d.Keep {
				ids = append(ids, d.Snapshot.ID)
			}
		}
		if len(ids)-before == len(g.Decisions) && !opt.AllowRemoveAll {
			return nil, object.CodeBraked.Errorf("policy %q would forget all snapshots of %s/%s; nothing was forgotten; if that is meant, use --unsafe-allow-remove-all", g.Policy, g.Client, g.Job)
		}
	}
	if opt.DryRun {
		return groups, nil
	}
	return groups, r.forgetAll(ctx, ids)
}

// decide asks the policy about every live snapshot. It holds some hundred bytes
// for each.
func (r *Repository) decide(ctx context.Context, policy func(client, job string) (retention.Policy, bool), opt ForgetOptions) ([]Group, error) {
	var groups []Group
	snaps := map[chain][]retention.Snapshot{}
	err := r.eachSnapshot(ctx, "snapshots", func(s *object.Snapshot) error {
		key := chainOf(s)
		if snaps[key] == nil {
			p, applies := policy(key.client, key.job)
			if !applies {
				return nil
			}
			groups = append(groups, Group{Client: key.client, Job: key.job, Policy: p})
		}
		snaps[key] = append(snaps[key], retention.Snapshot{ID: s.ID(), Received: time.Unix(0, s.Received), Unusual: s.Flags.Unusual()})
		return nil
	})
	if err != nil {
		return nil, err
	}
	rules := retention.Rules{Now: time.Unix(0, r.now()), MinAge: r.duration(settingMinAge), IgnoreUnusual: opt.IgnoreUnusual}
	for i := range groups {
		g := &groups[i]
		g.Decisions = retention.Select(snaps[chain{g.Client, g.Job}], g.Policy, rules)
	}
	return groups, nil
}

// PolicyOf returns the policy that the settings have for a client and job: that
// of the matching pattern with the fewest stars, of several such the longest
// one. There may be none. Safe for concurrent use.
func (r *Repository) PolicyOf(client, job string) (p retention.Policy, found bool) {
	best, value := "", ""
	for _, s := range r.Settings() {
		pattern, ok := strings.CutPrefix(s.Key, policyPrefix)
		if !ok {
			continue
		}
		c, j, _ := strings.Cut(pattern, "/")
		inClient, _ := path.Match(c, client) // checked when it was set
		inJob, _ := path.Match(j, job)
		if inClient && inJob && (best == "" || moreSpecific(pattern, best)) {
			best, value = pattern, s.Value
		}
	}
	p, err := retention.ParsePolicy(value) // likewise
	return p, best != "" && err == nil
}

func moreSpecific(a, b string) bool {
	order := []int{strings.Count(b, "*") - strings.Count(a, "*"), len(a) - len(b), strings.Compare(b, a)}
	i := slices.IndexFunc(order, func(n int) bool { return n != 0 })
	return i >= 0 && order[i] > 0
}
