package statcache

import (
	"crypto/sha256"

	"github.com/packnback/packnback/repo/object"
)

// Binding is what a cache belongs to. With another one it is of no use and is
// discarded.
type Binding struct {
	Repository  object.RepositoryID
	SendKey     object.ID // fingerprint of the whole send key, recipients included
	Client, Job string
}

const bindingSize = sha256.Size

// Hash returns what stands for b at the start of files.
func (b Binding) Hash() [32]byte { return b.hash() }

// bindingHash stands for a Binding at the start of every file of a cache.
type bindingHash [bindingSize]byte

// hash needs no separators: the lengths of all but the last field are fixed or
// given.
func (b Binding) hash() bindingHash {
	p := []byte("packnback cache v1\n")
	p = append(p, b.Repository[:]...)
	p = append(p, b.SendKey[:]...)
	p = append(p, byte(len(b.Client)))
	p = append(p, b.Client...)
	return sha256.Sum256(append(p, b.Job...))
}
