package protocol

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

func id(b byte) (id object.ID) {
	for i := range id {
		id[i] = b
	}
	return id
}

func sampleManifest() *object.Manifest {
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	key := ed25519.NewKeyFromSeed(seed)
	m := &object.Manifest{
		Repository: object.RepositoryID{1, 2, 3}, Client: "web1", Job: "default", Seq: 2, Prev: id(1), Root: id(2),
		MetadataKey: id(3), ContentKey: id(4), Recipients: id(5), SealedHash: object.HashID([]byte("sealed")), Time: 1790000000000000000,
	}
	copy(m.Signer[:], key.Public().(ed25519.PublicKey))
	copy(m.Signature[:], ed25519.Sign(key, m.AppendUnsigned(nil)))
	return m
}

func sampleRecord() *object.Record {
	return &object.Record{Kind: object.KindDir, ID: id(0x11), Key: id(0x22), Refs: []object.ID{id(0x33), id(0x44)}, Sealed: []byte("sealed bytes")}
}

// samples has at least one message of each type.
func samples() []Message {
	return []Message{
		&Hello{Lowest: 1, Highest: 1, Path: "/srv/backup", Program: "packnback 1.0"},
		&Hello{Lowest: 1, Highest: 3},
		&Welcome{Version: 1, Permissions: MayUpload | Blind, Repository: object.RepositoryID{9}, Idle: 600, Quota: 500 << 30,
			Client: "web1", Jobs: []string{"db", "default"}, Program: "packnback 1.0"},
		&Welcome{Version: 1, Permissions: MayUpload | MayRead | MayAdminister},
		&Bare{Kind: TypeAlive}, &Bare{Kind: TypeStoreAlive},
		&Open{Number: 1, Client: "web1", Job: "default", Base: id(6)},
		&Opened{Number: 1, Standing: object.Standing{Repository: object.RepositoryID{9}, Session: object.SessionID{8}, Seq: 4, Head: id(6), Based: true,
			Adopted: []object.Adopted{{Session: object.SessionID{7}, Durable: 1000}}}},
		&Opened{Number: 1, Standing: object.Standing{Repository: object.RepositoryID{9}, Session: object.SessionID{8}}},
		&Put{sampleRecord()},
		&Durable{1 << 40},
		&Have{Number: 2, IDs: []object.ID{id(1), id(2), id(3)}},
		&Held{Number: 2, Held: []bool{true, false, true}},
		&Held{Number: 3, Held: []bool{true, false, true, true, true, true, true, false, true}},
		&Bare{Kind: TypeCheckpoint, Number: 4}, &Bare{Kind: TypeClose, Number: 5}, &Bare{Kind: TypeCancel, Number: 6}, &Bare{Kind: TypeDone, Number: 7},
		&Commit{Number: 8, Manifest: sampleManifest(), Sealed: []byte("sealed")},
		&Replicate{Number: 8, Client: "web1", Job: "default"},
		&Replica{Number: 9, Snapshot: &object.Snapshot{Received: 1790000000000000002, Manifest: sampleManifest(), Sealed: []byte("sealed")}},
		&Committed{Number: 8, Receipt: object.Receipt{Snapshot: id(9), Received: 1790000000000000001, Flags: object.FlagMostlyNew}},
		&List{Kind: TypeSnapshots, Number: 9, Window: 4 << 20}, &List{Kind: TypeLinks, Number: 10, Window: 1},
		&Seek{Number: 11, Window: 1 << 20, ID: id(10)}, &Seek{Push: true, Number: 12, Window: MaxWindow, ID: id(11)},
		&Fetch{Number: 13, Window: 8 << 20, IDs: []object.ID{id(1), id(2)}},
		&Window{Number: 13, More: 65536},
		&Snapshot{Number: 9, Snapshot: &object.Snapshot{Received: 1790000000000000002, Manifest: sampleManifest(), Sealed: []byte("sealed")}},
		&Object{Number: 13, Record: sampleRecord()},
		&Error{Number: 0, Code: object.CodeMalformed, Detail: "what now?"},
		&Error{Number: 8, Code: object.CodeMissing, Detail: "holes", More: true, Missing: []object.ID{id(1), id(2)}},
		&Administer{Number: 14, Window: 65536, Operation: OpInit, Arguments: []byte{1}},
		&Outcome{Number: 14, Body: []byte("half done")}, &Outcome{Final: true, Number: 14, Body: []byte("done")},
		&List{Kind: TypeKeys, Number: 15, Window: 1 << 20},
	}
}

func TestSamplesCoverEveryType(t *testing.T) {
	seen := map[Type]bool{}
	for _, m := range samples() {
		seen[m.Type()] = true
	}
	for ty := range limits {
		if !seen[ty] {
			t.Errorf("no sample of %s (%#02x)", ty, uint8(ty))
		}
		if _, ok := typeNames[ty]; !ok {
			t.Errorf("type %#02x has no name", uint8(ty))
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, m := range samples() {
		b := m.Append([]byte("before"))[len("before"):]
		got, err := Unmarshal(m.Type(), b)
		if err != nil {
			t.Errorf("Unmarshal(%s): %v", m.Type(), err)
			continue
		}
		if again := got.Append(nil); !bytes.Equal(again, b) || got.Type() != m.Type() {
			t.Errorf("%s: got %x after a round trip, want %x", m.Type(), again, b)
		}
	}
}

// TestCutAndStretched takes every proper prefix and one byte more of each
// sample: nothing may be accepted whose encoding is another.
func TestCutAndStretched(t *testing.T) {
	for _, m := range samples() {
		b := m.Append(nil)
		for n := range b {
			got, err := Unmarshal(m.Type(), b[:n])
			if err == nil && !bytes.Equal(got.Append(nil), b[:n]) {
				t.Errorf("%s cut to %d of %d bytes was accepted as something else", m.Type(), n, len(b))
			}
		}
		got, err := Unmarshal(m.Type(), append(bytes.Clone(b), 0))
		if err == nil && !bytes.Equal(got.Append(nil), append(bytes.Clone(b), 0)) {
			t.Errorf("%s with a byte too many was accepted as something else", m.Type())
		}
	}
}

func TestLargestMessagesKeepTheirLimits(t *testing.T) {
	long := func(n int) string { return string(bytes.Repeat([]byte{'a'}, n)) }
	jobs := make([]string, MaxJobs)
	for i := range jobs {
		jobs[i] = string(rune('a'+i/26)) + string(rune('a'+i%26)) + long(object.MaxName-2)
	}
	ids := make([]object.ID, MaxFetch)
	for i := range ids {
		ids[i] = id(1)
	}
	manifest := sampleManifest()
	manifest.Client, manifest.Job = long(object.MaxName), long(object.MaxName)
	sealed := make([]byte, object.MaxSealedPart)
	manifest.SealedHash = object.HashID(sealed)
	for _, m := range []Message{
		&Hello{Lowest: 1, Highest: 1, Path: long(MaxPath), Program: long(MaxProgram)},
		&Welcome{Version: 1, Client: long(object.MaxName), Jobs: jobs, Program: long(MaxProgram)},
		&Open{Number: 1, Client: long(object.MaxName), Job: long(object.MaxName)},
		&Opened{Number: 1, Standing: object.Standing{Adopted: make([]object.Adopted, MaxAdopted)}},
		&Have{Number: 1, IDs: ids[:MaxHave]}, &Held{Number: 1, Held: make([]bool, MaxHave)},
		&Commit{Number: 1, Manifest: manifest, Sealed: sealed},
		&Replicate{Number: 1, Client: long(object.MaxName), Job: long(object.MaxName)},
		&Replica{Number: 1, Snapshot: &object.Snapshot{Manifest: manifest, Sealed: sealed}},
		&Fetch{Number: 1, Window: 1, IDs: ids},
		&Snapshot{Number: 1, Snapshot: &object.Snapshot{Manifest: manifest, Sealed: sealed}},
		&Error{Code: object.CodeMissing, Detail: long(MaxDetail), Missing: ids[:object.MaxMissing]},
		&Administer{Number: 1, Window: 1, Arguments: make([]byte, MaxArguments)},
		&Outcome{Number: 1, Body: make([]byte, MaxEvent)}, &Outcome{Final: true, Number: 1, Body: make([]byte, MaxResult)},
	} {
		limit, _ := m.Type().Limit()
		b := m.Append(nil)
		if len(b) != limit {
			t.Errorf("the largest %s has %d bytes, its limit is %d", m.Type(), len(b), limit)
		}
		if _, err := Unmarshal(m.Type(), b); err != nil {
			t.Errorf("the largest %s: %v", m.Type(), err)
		}
	}
	for ty, limit := range limits {
		if limit > MaxPayload {
			t.Errorf("%s: limit %d is beyond that of any frame", ty, limit)
		}
	}
}

func TestErrorsCrossTheWire(t *testing.T) {
	missing := &object.MissingError{IDs: []object.ID{id(1)}, More: true}
	for _, want := range []error{
		object.CodeQuota.Errorf("client web1 is over its quota"), object.CodeDenied.Errorf("no"), missing,
	} {
		m, err := UnmarshalError(NewError(3, want).Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		got := m.Err()
		if object.CodeOf(got) != object.CodeOf(want) || got.Error() != want.Error() {
			t.Errorf("got %v (code %d), want %v (code %d)", got, object.CodeOf(got), want, object.CodeOf(want))
		}
	}
	many := &object.MissingError{IDs: make([]object.ID, object.MaxMissing+1)}
	if m := NewError(1, many); len(m.Missing) != object.MaxMissing || !m.More {
		t.Errorf("got %d missing ids, more %v; want %d and true", len(m.Missing), m.More, object.MaxMissing)
	}
	var me *object.MissingError
	if !errors.As(NewError(1, missing).Err(), &me) || !me.More {
		t.Error("a MissingError does not come back as one")
	}
}

func TestOneLine(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"two\nlines\r\n", "two lines"},
		{"\x1b[31mred\x07", "?[31mred?"},
		{"\xff\u202e", "??"},
		{string(bytes.Repeat([]byte("ä"), MaxDetail)), string(bytes.Repeat([]byte("ä"), MaxDetail/2))},
	} {
		if got := OneLine(c.in); got != c.want {
			t.Errorf("OneLine(%.20q): got %.40q, want %.40q", c.in, got, c.want)
		}
	}
}
