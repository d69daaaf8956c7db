package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/packnback/packnback/repo/index"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/table"
)

// closure checks that every object that a snapshot needs is there and whole as
// far as its metadata tell, and names the snapshots that lack some.
func (c *checker) closure(ctx context.Context, v *view, order []received) error {
	m, err := newMarker(v, func(id, by object.ID) {
		what := "a snapshot needs it"
		if !by.IsZero() {
			what = fmt.Sprintf("object %s needs it", by)
		}
		c.loses(id, "", "missing; "+what)
	})
	if err != nil {
		c.problem(Problem{What: "index", Detail: err.Error()})
		return nil
	}
	for _, o := range order {
		if err := m.markSnapshot(o.id); err != nil {
			return err
		}
	}
	if err := m.run(ctx); err != nil {
		return err
	}
	if err := c.unreadable(m); err != nil || len(c.lost) == 0 {
		return err
	}
	return c.concerned(ctx, v, order)
}

// markSnapshot marks a snapshot's roots. One that is gone meanwhile was
// forgotten and removed, or can't be read, which was reported.
func (m *marker) markSnapshot(id object.ID) error {
	s, err := m.v.r.findSnapshot(id)
	if err != nil {
		if errors.Is(err, object.CodeNotFound) || errors.Is(err, object.CodeDamaged) {
			return nil
		}
		return err
	}
	for _, root := range s.Manifest.Roots() {
		if err := m.mark(root, object.ID{}); err != nil {
			return err
		}
	}
	return nil
}

// unreadable reports what is reached and could not be read, or is only where
// somebody has found it bad.
func (c *checker) unreadable(m *marker) error {
	for position := range m.reached.All(0, m.v.set.Len()) {
		bad := m.v.quarantine != nil
		if m.expanded.Has(position) && !bad {
			continue
		}
		e, err := m.v.set.Entry(position)
		if err != nil {
			c.problem(Problem{What: "index", Detail: err.Error()})
			return nil
		}
		name := e.Pack.Path(e.Type())
		if !m.expanded.Has(position) {
			c.loses(e.ID, name, fmt.Sprintf("unreadable at offset %d; snapshots need it", e.Offset))
			continue
		}
		state, err := m.v.condition(e.Location)
		if err != nil {
			return err
		}
		if state == quarantined {
			c.loses(e.ID, name, fmt.Sprintf("marked bad at offset %d, and there is no other copy; snapshots need it", e.Offset))
		}
	}
	return nil
}

// concerned reports which snapshots need something that is lost, one by one:
// it is slow, and there is something wrong.
func (c *checker) concerned(ctx context.Context, v *view, order []received) error {
	for _, o := range order {
		n, root := 0, object.ID{}
		m, err := newMarker(v, func(id, _ object.ID) { n, root = n+1, id })
		if err != nil {
			return err
		}
		if err := m.markSnapshot(o.id); err != nil {
			return err
		}
		if err := m.run(ctx); err != nil {
			return err
		}
		for id := range c.lost {
			var few [4]index.Found
			found, err := v.find(few[:0], id)
			if err != nil {
				return err
			}
			for _, f := range found {
				if m.reached.Has(f.Position) {
					n, root = n+1, id
				}
			}
		}
		if n > 0 {
			c.problem(Problem{What: "snapshot", ID: o.id, Detail: fmt.Sprintf("%d objects that it needs are lost, %s among them; what doesn't need them can be restored", n, root.Short())})
		}
	}
	return nil
}

// heads checks the heads of all jobs and what their clients are charged.
func (c *checker) heads() error {
	clients, err := list(c.r.fs, "heads")
	if err != nil {
		return err
	}
	for _, client := range clients {
		jobs, err := list(c.r.fs, "heads/"+client.Name)
		if err != nil {
			return err
		}
		for _, job := range jobs {
			if err := c.head(client.Name, job.Name); err != nil {
				return err
			}
		}
		if _, err := c.r.readUsed(client.Name); err != nil {
			c.problem(Problem{What: "quota", Name: usedName(client.Name), Detail: err.Error()})
		}
	}
	return nil
}

func (c *checker) head(client, job string) error {
	name := headName(client, job)
	h, err := c.r.readHead(client, job)
	if err != nil {
		c.problem(Problem{What: "head", Name: name, Detail: err.Error()})
		return nil
	}
	if h.seq > 0 {
		s, err := c.r.findSnapshot(h.id)
		if err == nil && s.Manifest.Seq != h.seq {
			err = fmt.Errorf("the head says number %d, its snapshot number %d", h.seq, s.Manifest.Seq)
		}
		if err != nil {
			c.problem(Problem{What: "head", Name: name, ID: h.id, Detail: err.Error()})
		}
	}
	for _, ref := range h.visible {
		if err := c.visibleSet(visibleName(client, job, ref.number), ref.rows); err != nil {
			again, headErr := c.r.readHead(client, job)
			if headErr == nil && findRun(again.visible, []visibleRef{ref}) < 0 {
				continue // merged meanwhile
			}
			c.problem(Problem{What: "head", Name: visibleName(client, job, ref.number), Detail: err.Error()})
		}
	}
	return nil
}

func (c *checker) visibleSet(name string, rows uint64) (err error) {
	t, err := table.Open(c.r.fs, name, visibleLayout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if uint64(t.Len()) != rows {
		return fmt.Errorf("%d ids, the head says %d", t.Len(), rows)
	}
	return t.Verify()
}
