package sender

import (
	"fmt"
	"sync"

	"github.com/packnback/packnback/cmd/packnback/internal/statcache"
	"github.com/packnback/packnback/repo/object"
)

// Limits of what is re-bundled in one run: enough to clean up within a few
// runs, too little to make a quiet day's backup a large one.
const (
	maxSparse      = 4096
	maxSparseBytes = 64 << 20
)

// trust knows which objects this run may rely on without sending them.
type trust struct {
	gen      *statcache.Generation // nil: nothing is remembered
	verified *statcache.IDSet      // those of gen's objects that the store has; nil: all of them
	adopted  *statcache.IDSet      // what cut-off uploads have left
	ask      bool                  // the store may have more than is known here
	sparse   map[object.ID]bool    // bundles not to rely on; at most maxSparse

	claimed *statcache.IDSet // put, or asked about, in this session

	lacking bool // absent holds anything; never changes
	mu      sync.Mutex
	absent  map[object.ID]bool // what the store said it lacks, at most two MissingErrors' worth; true once it was put again
}

// whole reports whether gen is trusted as it is.
func (t *trust) whole() bool { return t.verified == nil && !t.lacking }

// lacks reports whether the store said that it lacks id, and whether it was put
// since.
func (t *trust) lacks(id object.ID) (absent, healed bool) {
	if !t.lacking {
		return false, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	healed, absent = t.absent[id]
	return absent, healed
}

// base reports whether the base snapshot has id, as far as it may be trusted.
func (t *trust) base(id object.ID) (bool, error) {
	if t.gen == nil {
		return false, nil
	}
	if absent, _ := t.lacks(id); absent {
		return false, nil
	}
	if t.verified != nil {
		return t.verified.Has(id)
	}
	return t.gen.Has(id)
}

// carried is base without the lookup in gen: what to keep of gen's rows.
func (t *trust) carried() func(object.ID) (bool, error) {
	if t.whole() {
		return nil
	}
	return func(id object.ID) (bool, error) {
		if absent, _ := t.lacks(id); absent {
			return false, nil
		}
		if t.verified != nil {
			return t.verified.Has(id)
		}
		return true, nil
	}
}

// has reports whether the snapshot may refer to id without sending it.
func (t *trust) has(id object.ID) (bool, error) {
	if absent, healed := t.lacks(id); absent {
		return healed, nil
	}
	if has, err := t.base(id); has || err != nil {
		return has, err
	}
	if has, err := t.durable(id); has || err != nil {
		return has, err
	}
	return t.claimed.Has(id)
}

// durable reports whether id came with an adopted upload.
func (t *trust) durable(id object.ID) (bool, error) {
	if absent, _ := t.lacks(id); absent || t.adopted == nil {
		return false, nil
	}
	return t.adopted.Has(id)
}

// claim reports whether the caller has to send id (or ask whether it must):
// it is not known yet, and nobody else is at it.
func (t *trust) claim(id object.ID) (mine bool, err error) {
	if absent, _ := t.lacks(id); absent {
		t.mu.Lock()
		defer t.mu.Unlock()
		mine = !t.absent[id]
		t.absent[id] = true
		return mine, nil
	}
	if has, err := t.base(id); has || err != nil {
		return false, err
	}
	if has, err := t.durable(id); has || err != nil {
		return false, err
	}
	return t.claimed.Claim(id)
}

// asks reports whether the store must be asked about an id that was claimed.
func (t *trust) asks(id object.ID) bool {
	absent, _ := t.lacks(id)
	return t.ask && !absent
}

// findSparse looks for bundles that are better left behind.
func (t *trust) findSparse() error {
	t.sparse = nil
	if t.gen == nil {
		return nil
	}
	total := int64(0)
	err := t.gen.Sparse(func(bundle object.ID, live int64) bool {
		if total+live > maxSparseBytes || len(t.sparse) == maxSparse {
			return false
		}
		if t.sparse == nil {
			t.sparse = make(map[object.ID]bool)
		}
		t.sparse[bundle] = true
		total += live
		return true
	})
	if err != nil {
		return fmt.Errorf("looking for sparse bundles: %w", err)
	}
	return nil
}
