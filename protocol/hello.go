package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/packnback/packnback/repo/object"
)

// Permissions say what a connection may do.
type Permissions uint16

// The permissions of packnback-protocol(7), "Welcome".
const (
	MayUpload     Permissions = 1 << 0
	MayRead       Permissions = 1 << 1
	MayAdminister Permissions = 1 << 2
	Blind         Permissions = 1 << 3 // Have answers only for the upload's own puts

	permissionsKnown = MayUpload | MayRead | MayAdminister | Blind
)

// Hello is the client's first message (0x01).
type Hello struct {
	Lowest, Highest uint16 // versions the client speaks
	Path            string // repository; empty for the store's own
	Program         string // version of the client's program
}

// Type returns TypeHello.
func (*Hello) Type() Type { return TypeHello }

// Append appends the payload. UnmarshalHello is its inverse.
func (m *Hello) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, m.Lowest)
	dst = binary.BigEndian.AppendUint16(dst, m.Highest)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(m.Path)))
	dst = append(dst, m.Path...)
	return appendShort(dst, m.Program)
}

// UnmarshalHello reads a Hello's payload.
func UnmarshalHello(b []byte) (*Hello, error) {
	d := decoder{b: b}
	m := &Hello{Lowest: d.uint16(), Highest: d.uint16()}
	d.require(m.Lowest > 0 && m.Lowest <= m.Highest, "versions out of order")
	path := d.take(int(d.uint16()))
	d.require(len(path) <= MaxPath && bytes.IndexByte(path, 0) < 0, "bad path")
	m.Path = string(path)
	m.Program = d.program()
	return m, d.end(TypeHello)
}

// Choose returns the version that a store speaks with the client that said m.
func (m *Hello) Choose() (uint16, error) {
	if Version < m.Lowest || Version > m.Highest {
		return 0, object.CodeVersion.Errorf("the client speaks protocol versions %d to %d, this store %d; update the older of the two packnbacks",
			m.Lowest, m.Highest, Version)
	}
	return Version, nil
}

// Welcome is the store's first message (0x81): what the connection may do and
// what it is pinned to.
type Welcome struct {
	Version     uint16
	Permissions Permissions
	Repository  object.RepositoryID // zero when there is none yet
	Idle        uint32              // seconds of silence the store bears; 0 for ever
	Quota       uint64              // bytes; 0 not limited
	Client      string              // empty: any
	Jobs        []string            // ascending; empty: any
	Program     string
}

// Type returns TypeWelcome.
func (*Welcome) Type() Type { return TypeWelcome }

// Append appends the payload. UnmarshalWelcome is its inverse.
func (m *Welcome) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, m.Version)
	dst = binary.BigEndian.AppendUint16(dst, uint16(m.Permissions))
	dst = append(dst, m.Repository[:]...)
	dst = binary.BigEndian.AppendUint32(dst, m.Idle)
	dst = binary.BigEndian.AppendUint64(dst, m.Quota)
	dst = appendShort(dst, m.Client)
	dst = append(dst, byte(len(m.Jobs)))
	for _, j := range m.Jobs {
		dst = appendShort(dst, j)
	}
	return appendShort(dst, m.Program)
}

// UnmarshalWelcome reads a Welcome's payload. A version that this program
// doesn't speak is an error with object.CodeVersion.
func UnmarshalWelcome(b []byte) (*Welcome, error) {
	d := decoder{b: b}
	m := &Welcome{Version: d.uint16()}
	if m.Version != Version && d.bad == "" {
		return nil, object.CodeVersion.Errorf("the store answers in protocol version %d, this packnback speaks %d", m.Version, Version)
	}
	m.Permissions = Permissions(d.uint16())
	d.require(m.Permissions&^permissionsKnown == 0, "unknown permissions")
	copy(m.Repository[:], d.take(object.RepositoryIDSize))
	m.Idle, m.Quota = d.uint32(), d.uint64()
	m.Client = d.name("client", true)
	n := int(d.uint8())
	d.require(n <= MaxJobs, "too many jobs")
	for i := 0; i < n && d.bad == ""; i++ {
		m.Jobs = append(m.Jobs, d.name("job", false))
	}
	d.require(slices.IsSorted(m.Jobs) && len(slices.Compact(slices.Clone(m.Jobs))) == len(m.Jobs), "jobs out of order")
	m.Program = d.program()
	return m, d.end(TypeWelcome)
}

// String names the mode that p describes, for people.
func (p Permissions) String() string {
	mode := fmt.Sprintf("permissions %#x", uint16(p&^Blind))
	switch p &^ Blind {
	case MayUpload:
		mode = "write-only"
	case MayRead:
		mode = "read-only"
	case MayUpload | MayRead | MayAdminister:
		mode = "full"
	}
	if p&Blind != 0 {
		mode += " (blind)"
	}
	return mode
}
