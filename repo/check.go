package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/pack"
)

// CheckOptions say how much Check reads. The zero value reads no data packs.
type CheckOptions struct {
	ReadData bool    // read every data pack
	Subset   float64 // read this percentage of them, chosen at random
}

// Problem is one thing that is not as it should be.
type Problem struct {
	What   string    // config, CURRENT, index, list, pack, object, snapshot, head, quota or session
	Name   string    // file, if there is one
	ID     object.ID // object or snapshot, if there is one
	Detail string    // one line for people
}

// CheckResult is what a check or repair has looked at.
type CheckResult struct {
	Snapshots, Packs, PacksRead uint64
	Objects                     uint64 // rows of the index
	Bytes                       uint64 // of packs
	Problems                    int
}

// maxLost is how many missing or unreadable objects a check tells apart.
const maxLost = 4096

// checker is one Check under way.
type checker struct {
	r       *Repository
	opt     CheckOptions
	report  func(Problem)
	result  CheckResult
	lost    map[object.ID]bool   // reported objects, at most maxLost
	seed    uint64               // of the choice of packs
	deleted map[pack.Name]uint32 // locations on the deleting list, once a pack was found missing

	seen            map[chain][]uint64 // the numbers of all snapshots
	brokenSnapshots bool               // some file of a snapshot could not be read
}

// Check looks at everything that can be checked without a key and calls report,
// from the calling goroutine, for each problem: files that break their format,
// index and packs that disagree, objects that snapshots need and that are
// missing, and, as far as opt says, the checksums of all objects. It changes
// nothing. While it runs no prune does; CodeBusy says that one is running. An
// error means that the check itself could not go on.
func (r *Repository) Check(ctx context.Context, opt CheckOptions, report func(Problem)) (CheckResult, error) {
	lock, ok, err := r.tryLock(pruneLock, shared)
	switch {
	case err != nil: // a copy that can only be read has no locks, and no prunes
	case !ok:
		return CheckResult{}, object.CodeBusy.Errorf("a prune or repair is running; check when it is done")
	default:
		defer lock.Unlock()
	}
	c := &checker{r: r, opt: opt, report: report, lost: map[object.ID]bool{}, seed: rand.Uint64(), seen: map[chain][]uint64{}}
	err = c.run(ctx)
	return c.result, err
}

func (c *checker) problem(p Problem) {
	c.result.Problems++
	if c.report != nil {
		c.report(p)
	}
}

// loses reports an object that a snapshot needs, once.
func (c *checker) loses(id object.ID, name, detail string) {
	if c.lost[id] || len(c.lost) >= maxLost {
		return
	}
	c.lost[id] = true
	c.problem(Problem{What: "object", Name: name, ID: id, Detail: detail})
}

func (c *checker) run(ctx context.Context) error {
	if _, err := readConfig(c.r.fs); err != nil {
		c.problem(Problem{What: "config", Name: configName, Detail: err.Error()})
	}
	// Snapshots before CURRENT: what a snapshot needs was in CURRENT before it.
	var order []received
	for _, folder := range []string{"snapshots", "trash"} {
		found, err := c.snapshots(ctx, folder)
		if err != nil {
			return err
		}
		order = append(order, found...)
	}
	if _, err := c.snapshots(ctx, "links"); err != nil {
		return err
	}
	if err := c.checkChains(ctx); err != nil {
		return err
	}
	if err := c.sessions(); err != nil {
		return err
	}
	v, err := c.r.acquire(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		c.problem(Problem{What: "CURRENT", Name: currentName, Detail: err.Error()})
		return c.heads()
	}
	defer v.release()
	err = c.index(ctx, v)
	if err == nil {
		err = c.closure(ctx, v, order)
	}
	if errors.Is(err, object.CodeDamaged) {
		c.problem(Problem{What: "index", Detail: err.Error()})
	} else if err != nil {
		return err
	}
	return c.heads()
}

// snapshots checks the files of one folder of snapshots and returns those that
// can be read.
func (c *checker) snapshots(ctx context.Context, folder string) ([]received, error) {
	entries, err := list(c.r.fs, folder)
	if err != nil {
		return nil, err
	}
	var order []received
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, interrupted(err)
		}
		name := folder + "/" + e.Name
		id, err := object.ParseID(e.Name)
		if err != nil && strings.HasSuffix(e.Name, newSuffix) {
			continue // a crash left it, and a prune will remove it
		}
		if err != nil {
			c.problem(Problem{What: "snapshot", Name: name, Detail: "a file that is no snapshot's name"})
			continue
		}
		s, err := c.r.readSnapshot(folder, id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // moved meanwhile
		}
		if err == nil {
			err = s.Manifest.Verify()
		}
		if err != nil {
			c.brokenSnapshots = true
			c.problem(Problem{What: "snapshot", Name: name, ID: id, Detail: err.Error()})
			continue
		}
		c.sees(s)
		if folder == "snapshots" {
			c.result.Snapshots++
		}
		order = append(order, received{s.Received, id})
	}
	return order, nil
}

// sessions checks the files of unfinished uploads and that the packs they count
// on are there.
func (c *checker) sessions() error {
	return c.r.eachSession(func(id object.SessionID, s *sessionState, err error) error {
		name := sessionName(id)
		if errors.Is(err, errEmptySession) {
			return nil
		}
		if err != nil {
			c.problem(Problem{What: "session", Name: name, Detail: err.Error()})
			return nil
		}
		for _, p := range s.packs {
			e, err := c.r.fs.Stat(p.name.Path(p.typ))
			if err == nil && e.Size >= int64(p.size) {
				continue
			}
			if there, err := exists(c.r.fs, name); err != nil || !there {
				return err // committed meanwhile, and perhaps pruned
			}
			c.problem(Problem{What: "pack", Name: p.name.Path(p.typ), Detail: "missing or too short for the unfinished upload that needs it; it will be sent again"})
		}
		return nil
	})
}

// index checks segments, lists and packs.
func (c *checker) index(ctx context.Context, v *view) error {
	c.result.Objects = uint64(v.set.Len())
	for _, seg := range v.set.Segments() {
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		if err := seg.Verify(); err != nil {
			c.problem(Problem{What: "index", Name: seg.Name(), Detail: fmt.Sprintf("%v; %s", err, repairCommand)})
		}
	}
	for number, t := range v.openLists() {
		if err := t.Verify(); err != nil {
			c.problem(Problem{What: "list", Name: listName(number), Detail: fmt.Sprintf("%v; %s", err, repairCommand)})
		}
	}
	m, err := newMarker(v, nil)
	if err != nil {
		c.problem(Problem{What: "index", Detail: err.Error()})
		return nil
	}
	rows, err := m.rowsByPack(ctx)
	if err != nil {
		c.problem(Problem{What: "index", Detail: err.Error()})
		return nil
	}
	for i := range m.packs {
		if err := ctx.Err(); err != nil {
			return interrupted(err)
		}
		if err := c.pack(v, m.packs[i].Pack, rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// rowsByPack counts the rows of each of m's packs.
func (m *marker) rowsByPack(ctx context.Context) ([]uint32, error) {
	rows := make([]uint32, len(m.packs))
	for i, seg := range m.v.set.Segments() {
		if err := ctx.Err(); err != nil {
			return nil, interrupted(err)
		}
		for row := range seg.Len() {
			ordinal, err := seg.PackOf(row)
			if err != nil {
				return nil, damaged(seg.Name(), err, repairCommand)
			}
			rows[m.places[i][ordinal]]++
		}
	}
	return rows, nil
}

// wants reports whether the options choose a pack for reading. Metadata packs
// are small and everything depends on them.
func (c *checker) wants(p index.Pack) bool {
	if p.Type == pack.Meta || c.opt.ReadData {
		return true
	}
	return rand.New(rand.NewPCG(c.seed, uint64(p.Name.Counter())^p.Sequence)).Float64()*100 < c.opt.Subset
}

// pack compares one pack with the index, reading all of it or only its length.
func (c *checker) pack(v *view, p index.Pack, rows uint32) error {
	name := p.Name.Path(p.Type)
	c.result.Packs++
	c.result.Bytes += uint64(p.Size)
	f, err := c.r.fs.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if over, err := c.unlinked(v, p.Name, rows); err != nil || over {
			return err
		}
	}
	if err != nil {
		detail := err.Error()
		if isLoss(err) {
			detail += "; what it held is lost unless you have a copy"
		}
		c.problem(Problem{What: "pack", Name: name, Detail: detail})
		return nil
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return storeError("looking at", name, err)
	}
	if size < int64(p.Size) {
		c.problem(Problem{What: "pack", Name: name, Detail: fmt.Sprintf("truncated: %d bytes, the index says at least %d", size, p.Size)})
	}
	if !c.wants(p) {
		return nil
	}
	c.result.PacksRead++
	return c.readPack(v, f, p, rows)
}

// unlinked reports whether a prune that was cut off has unlinked a pack: when
// nothing lives in it the file goes before its entries do.
func (c *checker) unlinked(v *view, n pack.Name, rows uint32) (bool, error) {
	if v.deleting == nil {
		return false, nil
	}
	if c.deleted == nil {
		c.deleted = map[pack.Name]uint32{}
		for row, err := range v.deleting.Rows(0) {
			if err != nil {
				return false, damaged(v.deleting.Name(), err, repairCommand)
			}
			c.deleted[pack.Name(row[:pack.NameSize])]++
		}
	}
	return c.deleted[n] == rows, nil
}

// readPack reads a pack and compares each record with the index. What follows
// the last record that the index knows doesn't count: it was never durable.
func (c *checker) readPack(v *view, f disk.File, p index.Pack, rows uint32) error {
	name := p.Name.Path(p.Type)
	found := uint32(0)
	var few [4]index.Found
	scanned, err := pack.Scan(f, p.Name, p.Type, func(offset uint32, rec *object.Record) error {
		if int64(offset)+int64(rec.Size()) > int64(p.Size) {
			return nil
		}
		locations, err := v.find(few[:0], rec.ID)
		if err != nil {
			return err
		}
		for _, l := range locations {
			if l.Pack != p.Name || l.Offset != offset || int(l.Length) != rec.Size() || l.Kind != rec.Kind {
				continue
			}
			e, err := v.set.Entry(l.Position)
			if err == nil && e.Key != rec.Key {
				c.problem(Problem{What: "index", ID: rec.ID, Detail: fmt.Sprintf("it says that the key object is %s, the record says %s; %s", e.Key.Short(), rec.Key.Short(), repairCommand)})
			}
			found++
			return err
		}
		return nil // unused since a prune; what snapshots need and the index lacks is found from them
	})
	if err != nil {
		c.problem(Problem{What: "pack", Name: name, Detail: err.Error()})
		return nil
	}
	for _, d := range scanned.Damage {
		if d.Offset < int64(p.Size) {
			c.problem(Problem{What: "pack", Name: name, Detail: d.Error()})
		}
	}
	if found < rows {
		c.problem(Problem{What: "pack", Name: name, Detail: fmt.Sprintf("%d of its %d objects can't be read", rows-found, rows)})
	}
	return nil
}

// openLists yields the open lists of v with their numbers.
func (v *view) openLists() func(yield func(uint64, lister) bool) {
	return func(yield func(uint64, lister) bool) {
		l := &v.cur.lists
		if v.condemned != nil && !yield(l.condemned, v.condemned) {
			return
		}
		if v.deleting != nil && !yield(l.deleting, v.deleting) {
			return
		}
		if v.quarantine != nil {
			yield(l.quarantine, v.quarantine)
		}
	}
}

type lister interface{ Verify() error }
