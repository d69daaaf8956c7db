package repo

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"testing"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

// refused prunes and wants a refusal that leaves every pack where it is.
func (st *story) refused(what string) {
	st.t.Helper()
	before := fmt.Sprint(st.packFiles())
	if _, err := st.process().Prune(st.ctx, atOnce); !errors.Is(err, object.CodeDamaged) {
		st.t.Errorf("%s: prune: got %v, want a refusal", what, err)
	}
	if now := fmt.Sprint(st.packFiles()); now != before {
		st.t.Errorf("%s: packs before: %s\nafter: %s", what, before, now)
	}
}

// another commits one more snapshot, of new things only.
func (st *story) another() *upload {
	st.t.Helper()
	u := newUpload(60, nil)
	if _, err := u.send(st.ctx, st.r); err != nil {
		st.t.Fatal(err)
	}
	return u
}

// TestPruneWithOldCurrent has a CURRENT from before the last commit, as a copy
// of a repository can: the packs that it doesn't name are no strays.
func TestPruneWithOldCurrent(t *testing.T) {
	st := newStory(t)
	old, err := disk.ReadFile(st.r.fs, currentName, maxCurrent)
	if err != nil {
		t.Fatal(err)
	}
	u := st.another()
	if err := st.r.replaceFile(currentName, old); err != nil {
		t.Fatal(err)
	}
	st.r = st.process()
	st.refused("an old CURRENT")
	if _, err := st.r.RepairIndex(st.ctx, nil); err != nil {
		t.Fatal(err)
	}
	st.end(nil, u)
}

// TestPruneAfterRepair goes on where a repair has listed as condemned what a
// snapshot needs whose file couldn't be read.
func TestPruneAfterRepair(t *testing.T) {
	for _, early := range []bool{false, true} {
		st := newStory(t)
		u := st.another()
		name := snapshotName("snapshots", u.manifest.ID())
		good, err := disk.ReadFile(st.r.fs, name, maxCurrent)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.d.Corrupt(name, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }); err != nil {
			t.Fatal(err)
		}
		if _, err := st.process().RepairIndex(st.ctx, nil); err != nil {
			t.Fatal(err)
		}
		if early {
			st.refused("an unreadable snapshot")
		}
		if err := st.r.replaceFile(name, good); err != nil {
			t.Fatal(err)
		}
		st.r = st.process()
		st.end(nil, u)
	}
}

// TestPruneAfterRepairOfRoot has lost a snapshot's root: what was below it stays
// until somebody has forgotten the snapshot.
func TestPruneAfterRepairOfRoot(t *testing.T) {
	st := newStory(t)
	u := st.another()
	root, rest := u.tree[len(u.tree)-1], u.tree[:len(u.tree)-1]
	if root.ID != u.root {
		t.Fatal("not the root")
	}
	st.flip(root, object.HeaderSize+3)
	if _, err := st.process().RepairIndex(st.ctx, nil); err != nil {
		t.Fatal(err)
	}
	st.refused("a lost root")
	st.forget(u)
	if res, err := st.process().Prune(st.ctx, atOnce); err != nil || res.ObjectsDeleted < len(rest) {
		t.Errorf("after it was forgotten: %+v, %v", res, err)
	}
}

// TestChainOfKeys is a sender that names for each chunk the chunk before it as
// the key object. Marking must not go down such a chain by recursion.
func TestChainOfKeys(t *testing.T) {
	st := newStory(t)
	u := newUpload(60, nil)
	u.tree = nil
	key := u.Content.ID
	for i := range uint64(50_000) {
		rec := &object.Record{Kind: object.KindChunk, ID: sha256.Sum256(binary.BigEndian.AppendUint64(nil, i)), Key: key, Sealed: []byte{1}}
		u.tree = append(u.tree, rec)
		key = rec.ID
	}
	root := u.Object(object.KindDir, 80, key)
	u.tree, u.root = append(u.tree, root), root.ID
	if _, err := u.send(st.ctx, st.r); err != nil {
		t.Fatal(err)
	}
	defer debug.SetMaxStack(debug.SetMaxStack(4 << 20)) // beyond it the process ends
	if res := st.prune(nil); res.ObjectsKept < 50_000 {
		t.Errorf("%+v", res)
	}
	for _, rec := range u.tree[:3] {
		if !st.has(rec) {
			t.Error("the far end of the chain is gone")
		}
	}
}
