package object_test

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/packnback/packnback/repo/object"
)

func TestParseID(t *testing.T) {
	id := patternID(0xf0)
	if got, err := object.ParseID(id.String()); err != nil || got != id {
		t.Errorf("ParseID(String): %v, %v", got, err)
	}
	if len(id.Short()) != 8 || !strings.HasPrefix(id.String(), id.Short()) {
		t.Errorf("Short: %q", id.Short())
	}
	for _, bad := range []string{"", "f0", id.String()[1:], id.String() + "0", strings.ToUpper(id.String()), strings.Replace(id.String(), "f", "g", 1), strings.Repeat("\x1b", 64)} {
		if got, err := object.ParseID(bad); err == nil || !got.IsZero() {
			t.Errorf("ParseID(%q): %v, %v", bad, got, err)
		} else if strings.Contains(err.Error(), "\x1b") {
			t.Errorf("ParseID(%q) repeats what a terminal would obey: %v", bad, err)
		}
	}
	if !(object.ID{}).IsZero() || id.IsZero() || id.Compare(patternID(0xf1)) != -1 || id.Compare(id) != 0 {
		t.Error("IsZero or Compare")
	}
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "web1", "a.b_c-d", "...", "-", strings.Repeat("x", object.MaxName)} {
		if err := object.CheckName("client", good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "A", "a/b", "a b", "a\x00", "a\n", "ä", "\xff", strings.Repeat("x", object.MaxName+1)} {
		if err := object.CheckName("client", bad); err == nil || !strings.Contains(err.Error(), "client") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := object.CheckName("job", object.DefaultJob); err != nil {
		t.Error(err)
	}
}

func TestKinds(t *testing.T) {
	content := map[object.Kind]bool{object.KindChunk: true, object.KindBundle: true}
	names := map[string]bool{}
	for k := object.KindChunk; k <= object.KindKey; k++ {
		if !k.Valid() || (k.Class() == object.ClassContent) != content[k] || strings.Contains(k.String(), "kind") {
			t.Errorf("kind %d: %s, %s", k, k, k.Class())
		}
		if want := k == object.KindList || k == object.KindDir; k.HasRefs() != want {
			t.Errorf("%s has refs: %v", k, k.HasRefs())
		}
		names[k.String()] = true
	}
	if len(names) != 5 {
		t.Errorf("names: %v", names)
	}
	for _, k := range []object.Kind{0, 6, 255} {
		if k.Valid() || k.String() != fmt.Sprintf("kind %d", k) {
			t.Errorf("kind %d is %s", k, k)
		}
	}
	if object.ClassMetadata.String() != "metadata" || object.ClassContent.String() != "content" || object.Class(9).String() != "class 9" {
		t.Error("names of classes")
	}
}

func TestErrorsCarryCodes(t *testing.T) {
	cause := errors.New("cause")
	quota := object.CodeQuota.Errorf("client %q: %w", "web1", cause)
	wrapped := fmt.Errorf("committing: %w", quota)
	if !errors.Is(wrapped, object.CodeQuota) || errors.Is(wrapped, object.CodeBusy) || errors.Is(wrapped, cause) {
		t.Error("errors.Is of a StoreError")
	}
	if quota.Error() != `client "web1": cause` {
		t.Errorf("text: %q", quota.Error())
	}
	missing := &object.MissingError{IDs: []object.ID{patternID(1)}}
	for _, c := range []struct {
		err  error
		want object.Code
	}{
		{wrapped, object.CodeQuota},
		{fmt.Errorf("x: %w", missing), object.CodeMissing},
		{fmt.Errorf("x: %w", object.CodeBusy), object.CodeBusy},
		{io.EOF, object.CodeInternal},
		{nil, object.CodeInternal},
	} {
		if got := object.CodeOf(c.err); got != c.want {
			t.Errorf("CodeOf(%v): got %d, want %d", c.err, got, c.want)
		}
	}
	if !errors.Is(missing, object.CodeMissing) || errors.Is(missing, object.CodeQuota) {
		t.Error("errors.Is of a MissingError")
	}
	if more := (&object.MissingError{IDs: missing.IDs, More: true}).Error(); !strings.Contains(more, "more than 1 ") {
		t.Errorf("text: %q", more)
	}
	seen := map[string]object.Code{}
	for c := object.CodeInternal; c <= object.CodeInterrupted; c++ {
		if other, ok := seen[c.Error()]; ok || c.Error() == "" || strings.HasPrefix(c.Error(), "store error") {
			t.Errorf("code %d has the text %q, as %d", c, c.Error(), other)
		}
		seen[c.Error()] = c
	}
	if got := object.Code(999).Error(); got != "store error 999" {
		t.Errorf("an unknown code: %q", got)
	}
}

// TestCodesNeverChange repeats the numbers, which go over the wire.
func TestCodesNeverChange(t *testing.T) {
	for want, c := range []object.Code{
		1: object.CodeInternal, object.CodeNoRepo, object.CodeBusy, object.CodeUnsafeLock, object.CodeDenied, object.CodeQuota,
		object.CodeNoSpace, object.CodeHeadMoved, object.CodeMissing, object.CodeDamaged, object.CodeMalformed, object.CodeNotFound,
		object.CodeVersion, object.CodeClock, object.CodeBraked, object.CodeExists, object.CodeInvalid, object.CodeInterrupted,
	} {
		if int(c) != want {
			t.Errorf("code %q is %d, want %d", c.Error(), c, want)
		}
	}
}

func TestLargestRecord(t *testing.T) {
	r := &object.Record{Kind: object.KindDir, ID: patternID(1), Key: patternID(2), Sealed: make([]byte, object.MaxSealed)}
	for i := range object.MaxRefs {
		r.Refs = append(r.Refs, object.HashID(fmt.Append(nil, i)))
	}
	b := r.Append(nil)
	if len(b) != object.MaxRecord || r.Size() != len(b) {
		t.Errorf("%d bytes, Size says %d, want %d", len(b), r.Size(), object.MaxRecord)
	}
	got, err := object.UnmarshalRecord(b)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("read back: %v", err)
	}
	r.Refs = append(r.Refs, patternID(3))
	if err := r.Validate(); !errors.Is(err, object.ErrMalformed) {
		t.Errorf("one ref more: %v", err)
	}
	r.Refs, r.Sealed = nil, append(r.Sealed, 0)
	if err := r.Validate(); !errors.Is(err, object.ErrMalformed) {
		t.Errorf("one sealed byte more: %v", err)
	}
}

func TestAppendHeaderIsTheRecordsBeginning(t *testing.T) {
	_, dir, _ := testRecords()
	whole := dir.Append(nil)
	head := object.AppendHeader([]byte("x"), dir.Kind, dir.ID, dir.Key, dir.Refs, len(dir.Sealed))
	if string(head[1:]) != string(whole[:len(head)-1]) || len(head)-1 != object.HeaderSize+2*object.IDSize {
		t.Errorf("%d bytes: %x", len(head)-1, head)
	}
	if got := object.ParseRefs(whole[object.HeaderSize:], 2); !cmp.Equal(got, dir.Refs) {
		t.Errorf("ParseRefs: %v", got)
	}
}

func TestLargestManifestAndSnapshot(t *testing.T) {
	s := testSnapshot()
	long := strings.Repeat("x", object.MaxName)
	s.Manifest.Client, s.Manifest.Job = long, long
	s.Sealed = make([]byte, object.MaxSealedPart)
	s.Manifest.SealedHash = object.HashID(s.Sealed)
	if n := len(s.Manifest.Append(nil)); n != object.MaxLink {
		t.Errorf("manifest: %d bytes, MaxLink is %d", n, object.MaxLink)
	}
	b := s.Append(nil)
	if len(b) != object.MaxSnapshot {
		t.Errorf("snapshot: %d bytes, MaxSnapshot is %d", len(b), object.MaxSnapshot)
	}
	got, err := object.UnmarshalSnapshot(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, s) {
		t.Error("read back, it is another one")
	}
	if got.ID() != s.Manifest.ID() {
		t.Errorf("ID: %s", got.ID())
	}
	s.Sealed = append(s.Sealed, 0)
	s.Manifest.SealedHash = object.HashID(s.Sealed)
	if _, err := object.UnmarshalSnapshot(s.Append(nil)); !errors.Is(err, object.ErrMalformed) {
		t.Errorf("one sealed byte more: %v", err)
	}
}

func TestRoots(t *testing.T) {
	m := testManifest(1)
	if got := m.Roots(); !cmp.Equal(got, []object.ID{m.Root, m.MetadataKey, m.ContentKey}) {
		t.Errorf("got %v", got)
	}
	m.ContentKey = object.ID{}
	if got := m.Roots(); !cmp.Equal(got, []object.ID{m.Root, m.MetadataKey}) {
		t.Errorf("without content: %v", got)
	}
}

func TestUnusual(t *testing.T) {
	for f, want := range map[object.Flags]bool{
		0:                                    false,
		object.FlagMostlyNew:                 true,
		object.FlagMostlyOld:                 true,
		object.FlagRate:                      true,
		object.FlagNewSigner:                 true,
		object.FlagCleared:                   false,
		object.FlagForgotten:                 false,
		object.FlagRate | object.FlagCleared: false,
		object.FlagNewSigner | object.FlagForgotten: true,
	} {
		if f.Unusual() != want {
			t.Errorf("flags %#x: got %v, want %v", uint32(f), f.Unusual(), want)
		}
	}
}
