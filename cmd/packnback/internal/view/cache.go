package view

import (
	"container/list"
	"sync"

	"github.com/packnback/packnback/repo/object"
)

// sized is what a cache keeps.
type sized interface{ size() int }

// cache keeps the most recently used values by object id, up to a budget of
// bytes. A value larger than a quarter of the budget is not kept. Safe for
// concurrent use.
type cache[V sized] struct {
	mu     sync.Mutex
	budget int
	used   int
	items  map[object.ID]*list.Element
	recent *list.List // of *cached[V], most recently used first
}

type cached[V sized] struct {
	id object.ID
	v  V
}

func newCache[V sized](budget int) *cache[V] {
	return &cache[V]{budget: budget, items: map[object.ID]*list.Element{}, recent: list.New()}
}

func (c *cache[V]) find(id object.ID) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[id]
	if !ok {
		return v, false
	}
	c.recent.MoveToFront(e)
	return e.Value.(*cached[V]).v, true
}

func (c *cache[V]) add(id object.ID, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items[id] != nil || v.size() > c.budget/4 {
		return
	}
	c.items[id] = c.recent.PushFront(&cached[V]{id, v})
	c.used += v.size()
	for c.used > c.budget {
		old := c.recent.Remove(c.recent.Back()).(*cached[V])
		delete(c.items, old.id)
		c.used -= old.v.size()
	}
}
