package protocol

import (
	"encoding/binary"

	"github.com/packnback/packnback/repo/object"
)

// Open begins an upload (0x03).
type Open struct {
	Number      uint32
	Client, Job string
	Base        object.ID // snapshot the client's cache describes; zero for none
}

// Type returns TypeOpen.
func (*Open) Type() Type { return TypeOpen }

// Append appends the payload. UnmarshalOpen is its inverse.
func (m *Open) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Number)
	dst = appendShort(dst, m.Client)
	dst = appendShort(dst, m.Job)
	return append(dst, m.Base[:]...)
}

// UnmarshalOpen reads an Open's payload.
func UnmarshalOpen(b []byte) (*Open, error) {
	d := decoder{b: b}
	m := &Open{Number: d.number(), Client: d.name("client", false), Job: d.name("job", false), Base: d.id()}
	return m, d.end(TypeOpen)
}

// Opened answers an Open (0x85).
type Opened struct {
	Number   uint32
	Standing object.Standing
}

// Type returns TypeOpened.
func (*Opened) Type() Type { return TypeOpened }

// Append appends the payload. UnmarshalOpened is its inverse.
func (m *Opened) Append(dst []byte) []byte {
	s := &m.Standing
	dst = binary.BigEndian.AppendUint32(dst, m.Number)
	dst = append(dst, s.Repository[:]...)
	dst = append(dst, s.Session[:]...)
	dst = binary.BigEndian.AppendUint64(dst, s.Seq)
	dst = append(dst, s.Head[:]...)
	dst = appendFlag(dst, s.Based)
	dst = append(dst, byte(len(s.Adopted)))
	for _, a := range s.Adopted {
		dst = append(dst, a.Session[:]...)
		dst = binary.BigEndian.AppendUint64(dst, a.Durable)
	}
	return dst
}

// UnmarshalOpened reads an Opened's payload.
func UnmarshalOpened(b []byte) (*Opened, error) {
	d := decoder{b: b}
	m := &Opened{Number: d.number()}
	s := &m.Standing
	copy(s.Repository[:], d.take(len(s.Repository)))
	copy(s.Session[:], d.take(len(s.Session)))
	s.Seq, s.Head, s.Based = d.uint64(), d.id(), d.flag()
	d.require((s.Seq == 0) == s.Head.IsZero(), "head and sequence number contradict")
	d.require(!s.Based || s.Seq != 0, "based on no head")
	n := int(d.uint8())
	d.require(n <= MaxAdopted, "too many adopted uploads")
	for i := 0; i < n && d.bad == ""; i++ {
		var a object.Adopted
		copy(a.Session[:], d.take(len(a.Session)))
		a.Durable = d.uint64()
		s.Adopted = append(s.Adopted, a)
	}
	return m, d.end(TypeOpened)
}

// Put stores one object (0x04). It has no number and no answer.
type Put struct {
	Record *object.Record
}

// Type returns TypePut.
func (*Put) Type() Type { return TypePut }

// Append appends the payload. UnmarshalPut is its inverse.
func (m *Put) Append(dst []byte) []byte { return m.Record.Append(dst) }

// UnmarshalPut reads a Put's payload. The record shares b's memory.
func UnmarshalPut(b []byte) (*Put, error) {
	r, err := object.UnmarshalRecord(b)
	if err != nil {
		return nil, err
	}
	return &Put{r}, nil
}

// Durable says how many puts of the upload are durable (0x87).
type Durable struct {
	Puts uint64
}

// Type returns TypeDurable.
func (*Durable) Type() Type { return TypeDurable }

// Append appends the payload. UnmarshalDurable is its inverse.
func (m *Durable) Append(dst []byte) []byte { return binary.BigEndian.AppendUint64(dst, m.Puts) }

// UnmarshalDurable reads a Durable's payload.
func UnmarshalDurable(b []byte) (*Durable, error) {
	d := decoder{b: b}
	m := &Durable{d.uint64()}
	return m, d.end(TypeDurable)
}

// Have asks which of its ids the upload may rely on (0x05).
type Have struct {
	Number uint32
	IDs    []object.ID // 1 to MaxHave
}

// Type returns TypeHave.
func (*Have) Type() Type { return TypeHave }

// Append appends the payload. UnmarshalHave is its inverse.
func (m *Have) Append(dst []byte) []byte {
	return appendIDs(binary.BigEndian.AppendUint32(dst, m.Number), m.IDs)
}

// UnmarshalHave reads a Have's payload.
func UnmarshalHave(b []byte) (*Have, error) {
	d := decoder{b: b}
	m := &Have{Number: d.number(), IDs: d.ids(MaxHave)}
	return m, d.end(TypeHave)
}

// Held answers a Have (0x86), one value per id.
type Held struct {
	Number uint32
	Held   []bool // 1 to MaxHave
}

// Type returns TypeHeld.
func (*Held) Type() Type { return TypeHeld }

// Append appends the payload. UnmarshalHeld is its inverse.
func (m *Held) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Number)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(m.Held)))
	var b byte
	for i, held := range m.Held {
		if held {
			b |= 1 << (i % 8)
		}
		if i%8 == 7 || i == len(m.Held)-1 {
			dst = append(dst, b)
			b = 0
		}
	}
	return dst
}

// UnmarshalHeld reads a Held's payload.
func UnmarshalHeld(b []byte) (*Held, error) {
	d := decoder{b: b}
	m := &Held{Number: d.number()}
	n := int(d.uint16())
	d.require(n > 0 && n <= MaxHave, "count out of range")
	bits := d.take((n + 7) / 8)
	if err := d.end(TypeHeld); err != nil {
		return nil, err
	}
	if n%8 != 0 && bits[n/8]>>(n%8) != 0 {
		return nil, malformed("%s: bits beyond the last id", TypeHeld)
	}
	m.Held = make([]bool, n)
	for i := range m.Held {
		m.Held[i] = bits[i/8]>>(i%8)&1 == 1
	}
	return m, nil
}

// Commit asks to make the upload a snapshot (0x07).
type Commit struct {
	Number   uint32
	Manifest *object.Manifest
	Sealed   []byte // the manifest's sealed part
}

// Type returns TypeCommit.
func (*Commit) Type() Type { return TypeCommit }

// Append appends the payload. UnmarshalCommit is its inverse.
func (m *Commit) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Number)
	link := m.Manifest.Append(nil)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(link)))
	dst = append(dst, link...)
	return append(dst, m.Sealed...)
}

// UnmarshalCommit reads a Commit's payload. The sealed part shares b's memory;
// whether it is the one the manifest names is for the repository to check.
func UnmarshalCommit(b []byte) (*Commit, error) {
	d := decoder{b: b}
	m := &Commit{Number: d.number()}
	link := d.take(int(d.uint16()))
	m.Sealed = d.rest(1, object.MaxSealedPart)
	if err := d.end(TypeCommit); err != nil {
		return nil, err
	}
	var err error
	m.Manifest, err = object.UnmarshalManifest(link)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Committed answers a Commit (0x88).
type Committed struct {
	Number  uint32
	Receipt object.Receipt
}

// Type returns TypeCommitted.
func (*Committed) Type() Type { return TypeCommitted }

// Append appends the payload. UnmarshalCommitted is its inverse.
func (m *Committed) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Number)
	dst = append(dst, m.Receipt.Snapshot[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.Receipt.Received))
	return binary.BigEndian.AppendUint32(dst, uint32(m.Receipt.Flags))
}

// UnmarshalCommitted reads a Committed's payload.
func UnmarshalCommitted(b []byte) (*Committed, error) {
	d := decoder{b: b}
	m := &Committed{Number: d.number()}
	m.Receipt = object.Receipt{Snapshot: d.id(), Received: int64(d.uint64()), Flags: object.Flags(d.uint32())}
	return m, d.end(TypeCommitted)
}
