package protocol

import "github.com/packnback/packnback/repo/object"

// Drill is the outcome of trying to restore a snapshot.
type Drill struct {
	Snapshot                 object.ID // zero: none
	Files, Read, Bytes, Lost uint64    // Read is at most Files
}

func (m *Drill) append(dst []byte) []byte {
	return appendFigures(append(dst, m.Snapshot[:]...), m.figures())
}

func (m *Drill) figures() []*uint64 { return []*uint64{&m.Files, &m.Read, &m.Bytes, &m.Lost} }

// drill takes a Drill.
func (d *decoder) drill() Drill {
	m := Drill{Snapshot: d.id()}
	d.figures(m.figures())
	d.require(m.Read <= m.Files, "more files read than there are")
	return m
}

// DrillArguments are what OpDrill records.
type DrillArguments struct {
	Client, Job string
	Drill       Drill
}

// Append appends the encoding of a. UnmarshalDrillArguments is its inverse.
func (a *DrillArguments) Append(dst []byte) []byte {
	return a.Drill.append(appendShort(appendShort(dst, a.Client), a.Job))
}

// UnmarshalDrillArguments reads the arguments of OpDrill.
func UnmarshalDrillArguments(b []byte) (*DrillArguments, error) {
	d := decoder{b: b}
	a := &DrillArguments{Client: d.name("client", false), Job: d.name("job", false), Drill: d.drill()}
	d.require(!a.Drill.Snapshot.IsZero(), "a drill of no snapshot")
	return a, d.endOf(OpDrill)
}
