package source

import (
	"os/user"
	"strconv"
	"sync"
)

// owners caches the names of users or groups. It is safe for concurrent use.
type owners struct {
	lookup func(id string) (string, error)
	mu     sync.Mutex
	names  map[uint32]string
}

// maxOwners bounds the cache; a tree with more owners than that asks again.
const maxOwners = 4096

var (
	users = owners{lookup: func(id string) (string, error) {
		u, err := user.LookupId(id)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	}}
	groups = owners{lookup: func(id string) (string, error) {
		g, err := user.LookupGroupId(id)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	}}
)

// name returns the name of id, or "" where there is none or it can't be had:
// the number is kept in any case.
func (o *owners) name(id uint32) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if name, ok := o.names[id]; ok {
		return name
	}
	if len(o.names) >= maxOwners || o.names == nil {
		o.names = make(map[uint32]string)
	}
	name, err := o.lookup(strconv.FormatUint(uint64(id), 10))
	if err != nil || len(name) > 255 {
		name = ""
	}
	o.names[id] = name
	return name
}
