package protocol

import (
	"encoding/binary"
	"math"

	"github.com/packnback/packnback/repo/object"
)

// MaxForgotten is the largest number of ids one OpForget carries.
const MaxForgotten = (MaxArguments - 1) / object.IDSize

// maxReasons bounds the reasons in a Decision: every rule of a policy can give
// one, and the brake one more for each, with room for later ones.
const maxReasons = 64

// Bits of the first byte of what is asked of forget and prune.
const (
	bitDryRun = 1 << iota
	bitTrustClock
	bitIgnoreUnusual
	bitRemoveAll
	bitConfigured
	bitYes
)

func bits(flags ...bool) (b byte) {
	for i, f := range flags {
		if f {
			b |= 1 << i
		}
	}
	return b
}

// bits takes a byte of which only the bits in allowed may be set.
func (d *decoder) bits(allowed uint8) uint8 {
	b := d.uint8()
	d.require(b&^allowed == 0, "unknown flags")
	return b
}

// ForgetArguments say what OpForget forgets.
type ForgetArguments struct {
	DryRun, TrustClock, IgnoreUnusual bool
	IDs                               []object.ID // 1 to MaxForgotten
}

// Append appends the encoding of a. UnmarshalForgetArguments is its inverse.
func (a *ForgetArguments) Append(dst []byte) []byte {
	return appendIDs(append(dst, bits(a.DryRun, a.TrustClock, a.IgnoreUnusual)), a.IDs)
}

// UnmarshalForgetArguments reads the arguments of OpForget.
func UnmarshalForgetArguments(b []byte) (*ForgetArguments, error) {
	d := decoder{b: b}
	f := d.bits(bitDryRun | bitTrustClock | bitIgnoreUnusual)
	a := &ForgetArguments{DryRun: f&bitDryRun != 0, TrustClock: f&bitTrustClock != 0, IgnoreUnusual: f&bitIgnoreUnusual != 0}
	a.IDs = d.ids(MaxForgotten)
	return a, d.endOf(OpForget)
}

// PolicyArguments say what OpApplyPolicy does.
type PolicyArguments struct {
	DryRun, TrustClock, IgnoreUnusual, RemoveAll bool
	Configured                                   bool   // by the policies in the settings; Policy is empty then
	Client, Job                                  string // only these; empty: all
	Policy                                       string // as in the settings
}

// Append appends the encoding of a. UnmarshalPolicyArguments is its inverse.
func (a *PolicyArguments) Append(dst []byte) []byte {
	dst = append(dst, bits(a.DryRun, a.TrustClock, a.IgnoreUnusual, a.RemoveAll, a.Configured))
	return appendText(appendShort(appendShort(dst, a.Client), a.Job), a.Policy)
}

// UnmarshalPolicyArguments reads the arguments of OpApplyPolicy.
func UnmarshalPolicyArguments(b []byte) (*PolicyArguments, error) {
	d := decoder{b: b}
	f := d.bits(bitDryRun | bitTrustClock | bitIgnoreUnusual | bitRemoveAll | bitConfigured)
	a := &PolicyArguments{
		DryRun: f&bitDryRun != 0, TrustClock: f&bitTrustClock != 0, IgnoreUnusual: f&bitIgnoreUnusual != 0,
		RemoveAll: f&bitRemoveAll != 0, Configured: f&bitConfigured != 0,
		Client: d.name("client", true), Job: d.name("job", true), Policy: d.text(),
	}
	d.require(!a.Configured || a.Policy == "", "two policies")
	return a, d.endOf(OpApplyPolicy)
}

// Decision is an event of OpApplyPolicy: what happens to one snapshot and why.
// Those of one client and job follow one another, newest first.
type Decision struct {
	Client, Job string
	Policy      string
	ID          object.ID
	Received    int64 // nanoseconds since 1970
	Keep        bool
	Braked      bool     // kept only because of an unusual snapshot
	Unusual     bool     // unusual itself
	Reasons     []string // the rules that keep it
}

// Append appends the encoding of d. UnmarshalDecision is its inverse.
func (d *Decision) Append(dst []byte) []byte {
	dst = appendText(appendShort(appendShort(dst, d.Client), d.Job), d.Policy)
	dst = binary.BigEndian.AppendUint64(append(dst, d.ID[:]...), uint64(d.Received))
	dst = appendFlag(appendFlag(appendFlag(dst, d.Keep), d.Braked), d.Unusual)
	dst = append(dst, byte(len(d.Reasons)))
	for _, r := range d.Reasons {
		dst = appendText(dst, r)
	}
	return dst
}

// UnmarshalDecision reads a Decision.
func UnmarshalDecision(b []byte) (*Decision, error) {
	d := decoder{b: b}
	m := &Decision{
		Client: d.name("client", false), Job: d.name("job", false), Policy: d.text(),
		ID: d.id(), Received: int64(d.uint64()), Keep: d.flag(), Braked: d.flag(), Unusual: d.flag(),
	}
	n := int(d.uint8())
	d.require(n <= maxReasons, "too many reasons")
	for i := 0; i < n && d.bad == ""; i++ {
		m.Reasons = append(m.Reasons, d.text())
	}
	return m, d.endOf(OpApplyPolicy)
}

// PruneArguments are the choices of OpPrune.
type PruneArguments struct {
	DryRun, TrustClock, Yes bool
	Grace                   int64   // nanoseconds; negative: at once; 0: the setting
	MaxUnused               float64 // percent, up to 100; negative: none; 0: the setting
}

// Append appends the encoding of a. UnmarshalPruneArguments is its inverse.
func (a *PruneArguments) Append(dst []byte) []byte {
	dst = append(dst, bits(a.DryRun, a.TrustClock, false, false, false, a.Yes))
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.Grace))
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(a.MaxUnused))
}

// UnmarshalPruneArguments reads the arguments of OpPrune.
func UnmarshalPruneArguments(b []byte) (*PruneArguments, error) {
	d := decoder{b: b}
	f := d.bits(bitDryRun | bitTrustClock | bitYes)
	a := &PruneArguments{
		DryRun: f&bitDryRun != 0, TrustClock: f&bitTrustClock != 0, Yes: f&bitYes != 0,
		Grace: int64(d.uint64()), MaxUnused: math.Float64frombits(d.uint64()),
	}
	d.require(a.MaxUnused <= 100, "not a percentage") // false for NaN
	return a, d.endOf(OpPrune)
}

// AppendStep appends the encoding of a step, an event of OpPrune: a text.
func AppendStep(dst []byte, step string) []byte { return appendText(dst, step) }

// UnmarshalStep reads what AppendStep wrote. Its text is fit for a terminal.
func UnmarshalStep(b []byte) (string, error) {
	d := decoder{b: b}
	step := d.text()
	return OneLine(step), d.endOf(OpPrune)
}

// PruneResult is the result of OpPrune.
type PruneResult struct {
	Snapshots, Sessions, Strays                     uint64
	ObjectsKept, ObjectsDeleted                     uint64
	PacksDeleted, PacksRewritten                    uint64
	BytesCopied, BytesFreed, BytesKept, BytesUnused uint64
	Braked                                          uint64 // clients; of a dry run
}

func (r *PruneResult) figures() []*uint64 {
	return []*uint64{
		&r.Snapshots, &r.Sessions, &r.Strays, &r.ObjectsKept, &r.ObjectsDeleted, &r.PacksDeleted, &r.PacksRewritten,
		&r.BytesCopied, &r.BytesFreed, &r.BytesKept, &r.BytesUnused, &r.Braked,
	}
}

// Append appends the encoding of r. UnmarshalPruneResult is its inverse.
func (r *PruneResult) Append(dst []byte) []byte { return appendFigures(dst, r.figures()) }

// UnmarshalPruneResult reads the result of OpPrune.
func UnmarshalPruneResult(b []byte) (*PruneResult, error) {
	d := decoder{b: b}
	r := new(PruneResult)
	d.figures(r.figures())
	return r, d.endOf(OpPrune)
}

// JobStatus is an event of OpStatus: how one client's job stands.
type JobStatus struct {
	Client, Job               string
	Last, Oldest              object.ID // newest snapshot, oldest unusual one; zeros: none
	Received                  uint64    // of Last, nanoseconds since 1970
	Flags                     uint64    // of Last
	Snapshots, Trash, Unusual uint64
	Used                      uint64 // bytes
	Drilled                   uint64 // when a drill was last recorded, nanoseconds since 1970; 0: never
	Drill                     Drill  // that one
}

func (s *JobStatus) figures() []*uint64 {
	return []*uint64{&s.Received, &s.Flags, &s.Snapshots, &s.Trash, &s.Unusual, &s.Used, &s.Drilled}
}

// Append appends the encoding of s. UnmarshalJobStatus is its inverse.
func (s *JobStatus) Append(dst []byte) []byte {
	dst = appendShort(appendShort(dst, s.Client), s.Job)
	dst = appendFigures(appendIDs(dst, []object.ID{s.Last, s.Oldest}), s.figures())
	return s.Drill.append(dst)
}

// UnmarshalJobStatus reads a JobStatus.
func UnmarshalJobStatus(b []byte) (*JobStatus, error) {
	d := decoder{b: b}
	s := &JobStatus{Client: d.name("client", false), Job: d.name("job", false), Last: d.id(), Oldest: d.id()}
	d.figures(s.figures())
	s.Drill = d.drill()
	d.require(s.Received <= math.MaxInt64 && s.Flags <= math.MaxUint32 && s.Drilled <= math.MaxInt64, "figure out of range")
	d.require(s.Drilled > 0 == !s.Drill.Snapshot.IsZero() && (s.Drilled > 0 || s.Drill == Drill{}), "a drill without a time")
	return s, d.endOf(OpStatus)
}

// Status is the result of OpStatus.
type Status struct {
	Now, Pruned uint64 // nanoseconds since 1970, the store's clock; Pruned 0: never
	Freed, Bad  uint64
}

func (s *Status) figures() []*uint64 { return []*uint64{&s.Now, &s.Pruned, &s.Freed, &s.Bad} }

// Append appends the encoding of s. UnmarshalStatus is its inverse.
func (s *Status) Append(dst []byte) []byte { return appendFigures(dst, s.figures()) }

// UnmarshalStatus reads the result of OpStatus.
func UnmarshalStatus(b []byte) (*Status, error) {
	d := decoder{b: b}
	s := new(Status)
	d.figures(s.figures())
	d.require(s.Now <= math.MaxInt64 && s.Pruned <= math.MaxInt64, "time out of range")
	return s, d.endOf(OpStatus)
}
