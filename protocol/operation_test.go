package protocol

import (
	"bytes"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// carried has a sample of what each operation carries, and how it is read.
func carried() []struct {
	name string
	b    []byte
	read func([]byte) ([]byte, error)
} {
	type row = struct {
		name string
		b    []byte
		read func([]byte) ([]byte, error)
	}
	return []row{
		{"settings", AppendSettings(nil, []Setting{{Key: "grace", Value: "72h", Default: true, Doc: "how long"}, {Key: "x"}}),
			func(b []byte) ([]byte, error) { v, err := UnmarshalSettings(b); return AppendSettings(nil, v), err }},
		{"initialized", (&Initialized{ID: object.RepositoryID{1}, Warnings: []string{"on NFS", ""}}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalInitialized(b); return v.Append(nil), err }},
		{"check", (&CheckArguments{ReadData: true, Subset: 12.5}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalCheckArguments(b); return v.Append(nil), err }},
		{"problem", (&Problem{What: "pack", Name: "p", ID: id(1), Detail: "torn"}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalProblem(b); return v.Append(nil), err }},
		{"check result", (&CheckResult{1, 2, 3, 4, 5, 6}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalCheckResult(b); return v.Append(nil), err }},
		{"stats", (&Stats{1, 2, 3, 4, 5, 6, 7, 8, 9}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalStats(b); return v.Append(nil), err }},
		{"forget", (&ForgetArguments{DryRun: true, IgnoreUnusual: true, IDs: []object.ID{id(1), id(2)}}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalForgetArguments(b); return v.Append(nil), err }},
		{"policy", (&PolicyArguments{TrustClock: true, RemoveAll: true, Client: "web1", Policy: "daily=14"}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalPolicyArguments(b); return v.Append(nil), err }},
		{"decision", (&Decision{Client: "web1", Job: "default", Policy: "last=1", ID: id(3), Received: -1, Keep: true, Braked: true, Unusual: true, Reasons: []string{"frozen", ""}}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalDecision(b); return v.Append(nil), err }},
		{"prune", (&PruneArguments{DryRun: true, Yes: true, Grace: -1, MaxUnused: 12.5}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalPruneArguments(b); return v.Append(nil), err }},
		{"prune result", (&PruneResult{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalPruneResult(b); return v.Append(nil), err }},
		{"job status", (&JobStatus{Client: "web1", Job: "default", Last: id(1), Received: 1, Flags: 2, Snapshots: 3, Trash: 4, Unusual: 5, Used: 6}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalJobStatus(b); return v.Append(nil), err }},
		{"drilled job", (&JobStatus{Client: "web1", Job: "default", Last: id(1), Received: 1, Drilled: 7, Drill: Drill{Snapshot: id(2), Files: 9, Read: 8, Bytes: 7, Lost: 6}}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalJobStatus(b); return v.Append(nil), err }},
		{"drill", (&DrillArguments{Client: "web1", Job: "default", Drill: Drill{Snapshot: id(2), Files: 9, Read: 8, Bytes: 7, Lost: 6}}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalDrillArguments(b); return v.Append(nil), err }},
		{"status", (&Status{1, 2, 3, 4}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalStatus(b); return v.Append(nil), err }},
		{"replica", (&ReplicaArguments{ID: object.RepositoryID{1}, Settings: []Setting{{Key: "grace", Value: "1h"}}}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalReplicaArguments(b); return v.Append(nil), err }},
		{"links", AppendLinks(nil, sampleLinks()),
			func(b []byte) ([]byte, error) { v, err := UnmarshalLinks(b); return AppendLinks(nil, v), err }},
		{"links result", (&LinksResult{7}).Append(nil),
			func(b []byte) ([]byte, error) { v, err := UnmarshalLinksResult(b); return v.Append(nil), err }},
		{"ids", AppendIDs(nil, []object.ID{id(1), id(2)}),
			func(b []byte) ([]byte, error) { v, err := UnmarshalIDs(b); return AppendIDs(nil, v), err }},
	}
}

func sampleLinks() []*object.Snapshot {
	return []*object.Snapshot{
		{Received: 1, Manifest: sampleManifest(), Flags: object.FlagLeftOut},
		{Received: 2, Manifest: sampleManifest(), Flags: object.FlagForgotten, Forgotten: 3},
	}
}

// TestOperationsRefuse has what no administrator of a replica may send.
func TestOperationsRefuse(t *testing.T) {
	live := &object.Snapshot{Received: 1, Manifest: sampleManifest(), Sealed: []byte("sealed")}
	trashed := &object.Snapshot{Received: 1, Manifest: sampleManifest(), Sealed: []byte("sealed"), Flags: object.FlagForgotten, Forgotten: 2}
	for name, b := range map[string][]byte{
		"none": nil, "a live one": AppendLinks(nil, []*object.Snapshot{live}), "a sealed part": AppendLinks(nil, []*object.Snapshot{trashed}),
		"a length beyond what a link can have": append([]byte{2, 61}, make([]byte, 573)...),
	} {
		if l, err := UnmarshalLinks(b); err == nil {
			t.Errorf("links, %s: accepted as %d", name, len(l))
		}
	}
	if _, err := UnmarshalReplicaArguments((&ReplicaArguments{}).Append(nil)); err == nil {
		t.Error("a replica of no repository was accepted")
	}
}

func TestOperationsRoundTrip(t *testing.T) {
	for _, c := range carried() {
		got, err := c.read(c.b)
		if err != nil || !bytes.Equal(got, c.b) {
			t.Errorf("%s: got %x, %v; want %x", c.name, got, err, c.b)
		}
		for n := range c.b {
			if got, err := c.read(c.b[:n:n]); err == nil && !bytes.Equal(got, c.b[:n]) {
				t.Errorf("%s cut to %d bytes was accepted as something else", c.name, n)
			}
		}
		if got, err := c.read(append(bytes.Clone(c.b), 0)); err == nil && !bytes.Equal(got, append(bytes.Clone(c.b), 0)) {
			t.Errorf("%s with a byte too many was accepted as something else", c.name)
		}
	}
}

func FuzzOperations(f *testing.F) {
	readers := carried()
	for i, c := range readers {
		f.Add(uint8(i), c.b)
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		c := readers[int(which)%len(readers)]
		if got, err := c.read(b); err == nil && !bytes.Equal(got, b) {
			t.Fatalf("%s: accepted %x, encodes to %x", c.name, b, got)
		}
	})
}
