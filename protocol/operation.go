package protocol

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/packnback/packnback/repo/object"
)

// Operation numbers what an administrator can ask of a store. The numbers
// never change their meaning; packnback-protocol(7), "ADMINISTRATION", has the
// arguments, events and result of each.
type Operation uint16

// The operations. To add one: a number and a name here, its arguments, events
// and result in the manual and below, and a line in the server's tables.
const (
	OpInit        Operation = 1  // arguments: Settings; result: Initialized
	OpSettings    Operation = 2  // result: Settings
	OpSet         Operation = 3  // arguments: Settings, of which only key and value count
	OpCheck       Operation = 4  // arguments: CheckArguments; events: Problem; result: CheckResult
	OpRepairIndex Operation = 5  // events: Problem; result: CheckResult
	OpMarkBad     Operation = 6  // arguments: ids
	OpStats       Operation = 7  // result: Stats
	OpForget      Operation = 8  // arguments: ForgetArguments
	OpApplyPolicy Operation = 9  // arguments: PolicyArguments; events: Decision
	OpUnforget    Operation = 10 // arguments: ids
	OpTrash       Operation = 11 // events: snapshot files without their sealed part
	OpAcknowledge Operation = 12 // arguments: ids
	OpPrune       Operation = 13 // arguments: PruneArguments; events: text; result: PruneResult
	OpStatus      Operation = 14 // events: JobStatus; result: Status
	OpRepairPacks Operation = 15 // events: Problem; result: CheckResult
	OpDrill       Operation = 16 // arguments: DrillArguments
	OpInitReplica Operation = 17 // arguments: ReplicaArguments; result: Initialized
	OpAddLinks    Operation = 18 // arguments: links; result: LinksResult
)

var operationNames = map[Operation]string{
	OpInit: "init", OpSettings: "config list", OpSet: "config set", OpCheck: "check",
	OpRepairIndex: "repair index", OpMarkBad: "marking objects as bad", OpStats: "stats",
	OpForget: "forget", OpApplyPolicy: "forget by a policy", OpUnforget: "unforget", OpTrash: "listing the trash",
	OpAcknowledge: "acknowledge", OpPrune: "prune", OpStatus: "status",
	OpRepairPacks: "repair packs", OpDrill: "recording a drill",
	OpInitReplica: "init a replica", OpAddLinks: "adding links to a replica",
}

// String returns the operation's name, which is that of the command.
func (o Operation) String() string {
	if s, ok := operationNames[o]; ok {
		return s
	}
	return fmt.Sprintf("operation %d", uint16(o))
}

// Limits of what operations carry.
const (
	// MaxSettings is the largest number of settings in one message.
	MaxSettings = 1000
	// MaxText is the largest length of one text: a value, a path, a line.
	MaxText = 4096
)

// text takes a string of at most MaxText bytes.
func (d *decoder) text() string {
	b := d.take(int(d.uint16()))
	d.require(len(b) <= MaxText, "text too long")
	return string(b)
}

// appendText appends s, cut to MaxText.
func appendText(dst []byte, s string) []byte {
	s = s[:min(len(s), MaxText)]
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// endOf is end for what an operation carries.
func (d *decoder) endOf(o Operation) error {
	if err := d.end(TypeAdminister); err != nil {
		return fmt.Errorf("%s: %w", o, err)
	}
	return nil
}

// Setting is one of a repository's settings.
type Setting struct {
	Key, Value string
	Default    bool   // Value is what holds when nobody sets it
	Doc        string // one line for people
}

// AppendSettings appends the encoding of a list of settings.
func AppendSettings(dst []byte, list []Setting) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(list)))
	for _, s := range list {
		dst = appendText(appendText(dst, s.Key), s.Value)
		dst = appendText(appendFlag(dst, s.Default), s.Doc)
	}
	return dst
}

// UnmarshalSettings is the inverse of AppendSettings.
func UnmarshalSettings(b []byte) ([]Setting, error) {
	d := decoder{b: b}
	n := int(d.uint16())
	d.require(n <= MaxSettings, "too many settings")
	var list []Setting
	for i := 0; i < n && d.bad == ""; i++ {
		list = append(list, Setting{Key: d.text(), Value: d.text(), Default: d.flag(), Doc: d.text()})
	}
	return list, d.endOf(OpSettings)
}

// Initialized is the result of OpInit.
type Initialized struct {
	ID       object.RepositoryID
	Warnings []string // doubts about the place, one line each; at most MaxSettings
}

// Append appends the encoding of r. UnmarshalInitialized is its inverse.
func (r *Initialized) Append(dst []byte) []byte {
	dst = append(dst, r.ID[:]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Warnings)))
	for _, w := range r.Warnings {
		dst = appendText(dst, w)
	}
	return dst
}

// UnmarshalInitialized reads the result of OpInit.
func UnmarshalInitialized(b []byte) (*Initialized, error) {
	d := decoder{b: b}
	r := new(Initialized)
	copy(r.ID[:], d.take(object.RepositoryIDSize))
	n := int(d.uint16())
	d.require(n <= MaxSettings, "too many warnings")
	for i := 0; i < n && d.bad == ""; i++ {
		r.Warnings = append(r.Warnings, d.text())
	}
	return r, d.endOf(OpInit)
}

// CheckArguments say how much OpCheck reads.
type CheckArguments struct {
	ReadData bool    // every data pack
	Subset   float64 // this percentage of them, chosen at random; 0 to 100
}

// Append appends the encoding of a. UnmarshalCheckArguments is its inverse.
func (a *CheckArguments) Append(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(appendFlag(dst, a.ReadData), math.Float64bits(a.Subset))
}

// UnmarshalCheckArguments reads the arguments of OpCheck.
func UnmarshalCheckArguments(b []byte) (*CheckArguments, error) {
	d := decoder{b: b}
	a := &CheckArguments{ReadData: d.flag(), Subset: math.Float64frombits(d.uint64())}
	d.require(a.Subset >= 0 && a.Subset <= 100, "not a percentage") // false for NaN
	return a, d.endOf(OpCheck)
}

// Problem is an event of OpCheck, OpRepairIndex and OpRepairPacks: something
// that is wrong.
type Problem struct {
	What   string // kind of thing
	Name   string // its file, if it has one
	ID     object.ID
	Detail string
}

// Append appends the encoding of p. UnmarshalProblem is its inverse.
func (p *Problem) Append(dst []byte) []byte {
	dst = appendText(appendText(dst, p.What), p.Name)
	return appendText(append(dst, p.ID[:]...), p.Detail)
}

// UnmarshalProblem reads a Problem.
func UnmarshalProblem(b []byte) (*Problem, error) {
	d := decoder{b: b}
	p := &Problem{What: d.text(), Name: d.text(), ID: d.id(), Detail: d.text()}
	return p, d.endOf(OpCheck)
}

// CheckResult is the result of OpCheck, OpRepairIndex and OpRepairPacks.
type CheckResult struct {
	Snapshots, Packs, PacksRead, Objects, Bytes, Problems uint64
}

func (r *CheckResult) figures() []*uint64 {
	return []*uint64{&r.Snapshots, &r.Packs, &r.PacksRead, &r.Objects, &r.Bytes, &r.Problems}
}

// Append appends the encoding of r. UnmarshalCheckResult is its inverse.
func (r *CheckResult) Append(dst []byte) []byte { return appendFigures(dst, r.figures()) }

// UnmarshalCheckResult reads a CheckResult.
func UnmarshalCheckResult(b []byte) (*CheckResult, error) {
	d := decoder{b: b}
	r := new(CheckResult)
	d.figures(r.figures())
	return r, d.endOf(OpCheck)
}

// Stats is the result of OpStats.
type Stats struct {
	Snapshots, Objects, Packs, Segments uint64
	PackBytes, IndexBytes               uint64
	Free, Total                         uint64 // bytes of the file system
	Sessions                            uint64 // uploads that are running or were cut off
}

func (s *Stats) figures() []*uint64 {
	return []*uint64{&s.Snapshots, &s.Objects, &s.Packs, &s.Segments, &s.PackBytes, &s.IndexBytes, &s.Free, &s.Total, &s.Sessions}
}

// Append appends the encoding of s. UnmarshalStats is its inverse.
func (s *Stats) Append(dst []byte) []byte { return appendFigures(dst, s.figures()) }

// UnmarshalStats reads the result of OpStats.
func UnmarshalStats(b []byte) (*Stats, error) {
	d := decoder{b: b}
	s := new(Stats)
	d.figures(s.figures())
	return s, d.endOf(OpStats)
}

func appendFigures(dst []byte, figures []*uint64) []byte {
	for _, f := range figures {
		dst = binary.BigEndian.AppendUint64(dst, *f)
	}
	return dst
}

func (d *decoder) figures(figures []*uint64) {
	for _, f := range figures {
		*f = d.uint64()
	}
}

// AppendIDs appends ids, the arguments of OpMarkBad, OpUnforget and
// OpAcknowledge.
func AppendIDs(dst []byte, ids []object.ID) []byte { return appendIDs(dst, ids) }

// UnmarshalIDs reads what AppendIDs wrote: 1 to MaxMarked ids.
func UnmarshalIDs(b []byte) ([]object.ID, error) {
	d := decoder{b: b}
	ids := d.ids(MaxMarked)
	return ids, d.endOf(OpMarkBad)
}

// MaxMarked is the largest number of ids one OpMarkBad carries.
const MaxMarked = MaxArguments / object.IDSize
