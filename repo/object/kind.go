package object

import "fmt"

// Kind says what an object is. The numbers are part of the repository format
// and of every object id; they never change meaning.
type Kind uint8

// The kinds of object a pack may hold.
const (
	KindChunk  Kind = 1 // part of a large file; content class, no refs
	KindBundle Kind = 2 // several small files end to end; content class, no refs
	KindList   Kind = 3 // the chunks of a large file, in order; metadata class
	KindDir    Kind = 4 // one directory, or one node of a very large one; metadata class
	KindKey    Kind = 5 // age-wrapped session key of one upload and class; no refs, no key object
)

// Class says which session key seals an object and so who can read it.
type Class uint8

// The two classes of packnback-key(5).
const (
	ClassMetadata Class = 1 // names, times, structure: restore and list recipients
	ClassContent  Class = 2 // the bytes of files: restore recipients only
)

// String returns "metadata" or "content".
func (c Class) String() string {
	switch c {
	case ClassMetadata:
		return "metadata"
	case ClassContent:
		return "content"
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// Valid reports whether k is a kind that this version knows.
func (k Kind) Valid() bool { return k >= KindChunk && k <= KindKey }

// Class returns the class that objects of kind k are sealed under. Key objects
// are not sealed by a session key; they count as metadata because they live in
// metadata packs.
func (k Kind) Class() Class {
	if k == KindChunk || k == KindBundle {
		return ClassContent
	}
	return ClassMetadata
}

// HasRefs reports whether objects of kind k may carry refs.
func (k Kind) HasRefs() bool { return k == KindList || k == KindDir }

// String returns the kind's name as the manual spells it.
func (k Kind) String() string {
	switch k {
	case KindChunk:
		return "chunk"
	case KindBundle:
		return "bundle"
	case KindList:
		return "list"
	case KindDir:
		return "directory"
	case KindKey:
		return "key"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}
