package view

import (
	"context"
	"strings"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// threeSnapshots returns a store with a chain of three, and what a restorer
// knows after it has verified them.
func threeSnapshots(t *testing.T) (*fakeStore, *Known) {
	t.Helper()
	store := &fakeStore{}
	for i := range 3 {
		store.add(newSigner(1), "web", "default", int64(i+1))
	}
	learned, got := verify(t, store, nil, false)
	if len(learned.Keys) != 1 || len(learned.Heads) != 1 || learned.Heads[0].Seq != 3 {
		t.Fatalf("learned %+v, want one key and the head number 3; findings: %v", learned, got)
	}
	if len(got) != 1 || got[0].Severity != Warning || !strings.Contains(got[0].Text, "first contact") {
		t.Fatalf("findings %v, want only the warning of the first contact", got)
	}
	return store, learned
}

func verify(t *testing.T, store *fakeStore, known *Known, trusted bool) (*Known, []Finding) {
	t.Helper()
	var got []Finding
	check := ChainCheck{Store: store, Repository: testRepository, Known: known, RequireTrusted: trusted}
	learned, err := VerifyChains(context.Background(), check, func(f Finding) { got = append(got, f) })
	if err != nil {
		t.Fatal(err)
	}
	return learned, got
}

func TestVerifyChains(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*fakeStore, *Known)
		trusted bool
		want    []string // in order: severity letter and words of the text
	}{
		{name: "unchanged", change: func(*fakeStore, *Known) {}},
		{name: "extended", change: func(s *fakeStore, _ *Known) { s.add(newSigner(1), "web", "default", 9) }},
		{name: "forgotten", change: func(s *fakeStore, _ *Known) { s.forget(1, 77) }, want: []string{"N was forgotten at 1970-01-01T00:00:00Z"}},
		{name: "dropped", change: func(s *fakeStore, _ *Known) { s.snapshots = append(s.snapshots[:1], s.snapshots[2]) }, want: []string{"D number 2 is missing"}},
		{name: "first two dropped", change: func(s *fakeStore, _ *Known) { s.snapshots = s.snapshots[2:] }, want: []string{"D number 1 to 2 are missing"}},
		{name: "rolled back", change: func(s *fakeStore, _ *Known) { s.snapshots = s.snapshots[:2] }, want: []string{"D no snapshot number 3"}},
		{name: "all gone", change: func(s *fakeStore, _ *Known) { s.snapshots = nil }, want: []string{"D no snapshot number 3"}},
		{name: "altered", change: func(s *fakeStore, _ *Known) { s.snapshots[1].Manifest.Root[5]++ },
			want: []string{"D signature does not verify", "D number 2 is missing"}},
		{name: "other repository", change: func(s *fakeStore, _ *Known) {
			m := s.snapshots[2].Manifest
			m.Repository[0]++
			sign(m, newSigner(1))
		}, want: []string{"D was made for repository", "D no snapshot number 3"}},
		{name: "history rewritten by the sender", change: func(s *fakeStore, _ *Known) {
			m := s.snapshots[2].Manifest
			m.Time++
			sign(m, newSigner(1))
		}, want: []string{"D history was rewritten"}},
		{name: "fork", change: func(s *fakeStore, _ *Known) {
			m := *s.snapshots[2].Manifest
			m.Time++
			sign(&m, newSigner(1))
			s.snapshots = append(s.snapshots, &object.Snapshot{Received: 9, Manifest: &m})
		}, want: []string{"D both are number 3", ""}},
		{name: "reordered", change: func(s *fakeStore, _ *Known) {
			m := s.snapshots[1].Manifest
			m.Time++
			sign(m, newSigner(1))
		}, want: []string{"D as the one before it, but that is"}},
		{name: "unknown signer", change: func(s *fakeStore, _ *Known) { s.add(newSigner(2), "web", "default", 9) }, want: []string{"D not a known one"}},
		{name: "pinned new signer", change: func(s *fakeStore, k *Known) {
			s.add(newSigner(2), "web", "default", 9)
			k.Pin(KnownKey{Client: "web", Key: s.snapshots[3].Manifest.Signer, Trusted: true})
		}},
		{name: "first use is not trust", trusted: true, change: func(*fakeStore, *Known) {}, want: []string{"D nobody has declared"}},
		{name: "trusted", trusted: true, change: func(s *fakeStore, k *Known) { k.Keys[0].Trusted = true }},
		{name: "clock went back", change: func(s *fakeStore, _ *Known) { s.snapshots[2].Received = 1 }, want: []string{"W was received before"}},
		{name: "unforgotten", change: func(s *fakeStore, _ *Known) { s.links = append(s.links, s.snapshots[1]) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, known := threeSnapshots(t)
			tt.change(store, known)
			learned, got := verify(t, store, known, tt.trusted)
			damage := false
			for i, f := range got {
				if wrongKey := strings.Contains(f.Text, "key"); f.Severity == Damage && (f.Signer != SigningKey{}) != wrongKey {
					t.Errorf("%q blames the key %s", f.Text, f.Signer)
				}
				if forged := f.Severity == Damage && strings.Contains(f.Text, "sign") && !strings.Contains(f.Text, "signed link") || strings.Contains(f.Text, "was made for"); f.Forged != forged {
					t.Errorf("%q: forged is %v", f.Text, f.Forged)
				}
				damage = damage || f.Severity == Damage
				text := "NWD"[f.Severity:f.Severity+1] + " " + f.Text
				if i >= len(tt.want) || text[:1] != tt.want[i][:min(1, len(tt.want[i]))] && tt.want[i] != "" || !strings.Contains(f.Text, strings.TrimLeft(tt.want[i], "NWD ")) {
					t.Errorf("finding %d is %q, want %q", i, text, tt.want)
				}
			}
			if len(got) < len(tt.want) && tt.name != "fork" {
				t.Errorf("got %d findings %v, want %q", len(got), got, tt.want)
			}
			if damage && len(learned.Heads) != 0 {
				t.Errorf("the head of a damaged chain was remembered: %+v", learned.Heads)
			}
		})
	}
}
