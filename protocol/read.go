package protocol

import (
	"encoding/binary"

	"github.com/packnback/packnback/repo/object"
)

// List asks for all there are of something: snapshots (0x10), links of
// forgotten ones (0x12) or key objects (0x17).
type List struct {
	Kind   Type // TypeSnapshots, TypeLinks or TypeKeys
	Number uint32
	Window uint32
}

// Type returns m.Kind.
func (m *List) Type() Type { return m.Kind }

// Append appends the payload. UnmarshalList is its inverse.
func (m *List) Append(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, m.Number), m.Window)
}

// UnmarshalList reads the payload of a message of type TypeSnapshots,
// TypeLinks or TypeKeys.
func UnmarshalList(t Type, b []byte) (*List, error) {
	d := decoder{b: b}
	m := &List{Kind: t, Number: d.number(), Window: d.window()}
	return m, d.end(t)
}

// Seek asks for one snapshot (0x11), or for the tree of lists and directories
// below one object (0x13).
type Seek struct {
	Push   bool // a tree instead of a snapshot
	Number uint32
	Window uint32
	ID     object.ID
}

// Type returns TypeLookup or TypePush.
func (m *Seek) Type() Type {
	if m.Push {
		return TypePush
	}
	return TypeLookup
}

// Append appends the payload. UnmarshalSeek is its inverse.
func (m *Seek) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Number)
	dst = binary.BigEndian.AppendUint32(dst, m.Window)
	return append(dst, m.ID[:]...)
}

// UnmarshalSeek reads the payload of a message of type TypeLookup or TypePush.
func UnmarshalSeek(t Type, b []byte) (*Seek, error) {
	d := decoder{b: b}
	m := &Seek{Push: t == TypePush, Number: d.number(), Window: d.window(), ID: d.id()}
	return m, d.end(t)
}

// Fetch asks for objects (0x14).
type Fetch struct {
	Number uint32
	Window uint32
	IDs    []object.ID // 1 to MaxFetch
}

// Type returns TypeFetch.
func (*Fetch) Type() Type { return TypeFetch }

// Append appends the payload. UnmarshalFetch is its inverse.
func (m *Fetch) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Number)
	dst = binary.BigEndian.AppendUint32(dst, m.Window)
	return appendIDs(dst, m.IDs)
}

// UnmarshalFetch reads a Fetch's payload.
func UnmarshalFetch(b []byte) (*Fetch, error) {
	d := decoder{b: b}
	m := &Fetch{Number: d.number(), Window: d.window(), IDs: d.ids(MaxFetch)}
	return m, d.end(TypeFetch)
}

// Window lets a stream send more (0x15).
type Window struct {
	Number uint32
	More   uint32 // bytes
}

// Type returns TypeWindow.
func (*Window) Type() Type { return TypeWindow }

// Append appends the payload. UnmarshalWindow is its inverse.
func (m *Window) Append(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, m.Number), m.More)
}

// UnmarshalWindow reads a Window's payload.
func UnmarshalWindow(b []byte) (*Window, error) {
	d := decoder{b: b}
	m := &Window{Number: d.number(), More: d.window()}
	return m, d.end(TypeWindow)
}

// Snapshot is one item of a stream of snapshots or links (0x90).
type Snapshot struct {
	Number   uint32
	Snapshot *object.Snapshot
}

// Type returns TypeSnapshot.
func (*Snapshot) Type() Type { return TypeSnapshot }

// Append appends the payload. UnmarshalSnapshot is its inverse.
func (m *Snapshot) Append(dst []byte) []byte {
	return m.Snapshot.Append(binary.BigEndian.AppendUint32(dst, m.Number))
}

// UnmarshalSnapshot reads a Snapshot's payload.
func UnmarshalSnapshot(b []byte) (*Snapshot, error) {
	d := decoder{b: b}
	m := &Snapshot{Number: d.number()}
	body := d.rest(1, object.MaxSnapshot)
	if err := d.end(TypeSnapshot); err != nil {
		return nil, err
	}
	var err error
	if m.Snapshot, err = object.UnmarshalSnapshot(body); err != nil {
		return nil, err
	}
	return m, nil
}

// Object is one item of a stream of objects (0x91).
type Object struct {
	Number uint32
	Record *object.Record
}

// Type returns TypeObject.
func (*Object) Type() Type { return TypeObject }

// Append appends the payload. UnmarshalObject is its inverse.
func (m *Object) Append(dst []byte) []byte {
	return m.Record.Append(binary.BigEndian.AppendUint32(dst, m.Number))
}

// UnmarshalObject reads an Object's payload. The record shares b's memory.
func UnmarshalObject(b []byte) (*Object, error) {
	d := decoder{b: b}
	m := &Object{Number: d.number()}
	body := d.rest(1, object.MaxRecord)
	if err := d.end(TypeObject); err != nil {
		return nil, err
	}
	var err error
	if m.Record, err = object.UnmarshalRecord(body); err != nil {
		return nil, err
	}
	return m, nil
}
