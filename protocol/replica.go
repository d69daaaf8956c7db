package protocol

import (
	"encoding/binary"

	"github.com/packnback/packnback/repo/object"
)

// Replicate opens an upload that copies a snapshot of another repository (0x09).
type Replicate struct {
	Number      uint32
	Client, Job string
}

// Type returns TypeReplicate.
func (*Replicate) Type() Type { return TypeReplicate }

// Append appends the payload. UnmarshalReplicate is its inverse.
func (m *Replicate) Append(dst []byte) []byte {
	return appendShort(appendShort(binary.BigEndian.AppendUint32(dst, m.Number), m.Client), m.Job)
}

// UnmarshalReplicate reads a Replicate's payload.
func UnmarshalReplicate(b []byte) (*Replicate, error) {
	d := decoder{b: b}
	m := &Replicate{Number: d.number(), Client: d.name("client", false), Job: d.name("job", false)}
	return m, d.end(TypeReplicate)
}

// Replica asks to make an upload that Replicate opened a snapshot (0x0a).
type Replica struct {
	Number   uint32
	Snapshot *object.Snapshot // a live one
}

// Type returns TypeReplica.
func (*Replica) Type() Type { return TypeReplica }

// Append appends the payload. UnmarshalReplica is its inverse.
func (m *Replica) Append(dst []byte) []byte {
	return m.Snapshot.Append(binary.BigEndian.AppendUint32(dst, m.Number))
}

// UnmarshalReplica reads a Replica's payload.
func UnmarshalReplica(b []byte) (*Replica, error) {
	d := decoder{b: b}
	m := &Replica{Number: d.number()}
	body := d.rest(1, object.MaxSnapshot)
	if err := d.end(TypeReplica); err != nil {
		return nil, err
	}
	var err error
	if m.Snapshot, err = object.UnmarshalSnapshot(body); err != nil {
		return nil, err
	}
	if m.Snapshot.Flags&(object.FlagForgotten|object.FlagLeftOut) != 0 {
		return nil, malformed("%s: the snapshot is forgotten or left out", TypeReplica)
	}
	return m, nil
}

// ReplicaArguments say what OpInitReplica makes.
type ReplicaArguments struct {
	ID       object.RepositoryID // of the repository that it is to be a replica of; not zero
	Settings []Setting           // of which only key and value count
}

// Append appends the encoding of a. UnmarshalReplicaArguments is its inverse.
func (a *ReplicaArguments) Append(dst []byte) []byte {
	return AppendSettings(append(dst, a.ID[:]...), a.Settings)
}

// UnmarshalReplicaArguments reads the arguments of OpInitReplica.
func UnmarshalReplicaArguments(b []byte) (*ReplicaArguments, error) {
	d := decoder{b: b}
	a := new(ReplicaArguments)
	copy(a.ID[:], d.take(object.RepositoryIDSize))
	d.require(a.ID != object.RepositoryID{}, "no repository")
	rest := d.take(len(d.b))
	if err := d.endOf(OpInitReplica); err != nil {
		return a, err
	}
	var err error
	a.Settings, err = UnmarshalSettings(rest)
	return a, err
}

// maxLinkFile is the largest length of a snapshot file without a sealed part.
const maxLinkFile = object.MaxSnapshot - object.MaxSealedPart

// MaxLinks is a number of links that always fits into one OpAddLinks.
const MaxLinks = MaxArguments / (2 + maxLinkFile)

// AppendLinks appends the arguments of OpAddLinks.
func AppendLinks(dst []byte, links []*object.Snapshot) []byte {
	for _, l := range links {
		b := l.Append(nil)
		dst = append(binary.BigEndian.AppendUint16(dst, uint16(len(b))), b...)
	}
	return dst
}

// UnmarshalLinks reads what AppendLinks wrote: links, and at least one.
func UnmarshalLinks(b []byte) ([]*object.Snapshot, error) {
	d := decoder{b: b}
	var links []*object.Snapshot
	for first := true; d.bad == "" && (first || len(d.b) > 0); first = false {
		n := int(d.uint16())
		d.require(n <= maxLinkFile, "link too long")
		body := d.take(n)
		if d.bad != "" {
			break
		}
		l, err := object.UnmarshalSnapshot(body)
		if err != nil {
			return nil, err
		}
		d.require(len(l.Sealed) == 0, "a snapshot that is no link")
		links = append(links, l)
	}
	return links, d.endOf(OpAddLinks)
}

// LinksResult is the result of OpAddLinks.
type LinksResult struct{ Added uint64 }

// Append appends the encoding of r. UnmarshalLinksResult is its inverse.
func (r *LinksResult) Append(dst []byte) []byte { return appendFigures(dst, []*uint64{&r.Added}) }

// UnmarshalLinksResult reads the result of OpAddLinks.
func UnmarshalLinksResult(b []byte) (*LinksResult, error) {
	d := decoder{b: b}
	r := new(LinksResult)
	d.figures([]*uint64{&r.Added})
	return r, d.endOf(OpAddLinks)
}
