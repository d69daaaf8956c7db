package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
)

// Finding is one thing that VerifyChains has to say about a client's snapshots.
type Finding struct {
	Severity    Severity
	Client, Job string    // empty when it is not known whose snapshot it is about
	Seq         uint64    // 0 when the finding is about the whole chain
	Snapshot    object.ID // zero when there is none
	// Forged says that the snapshot itself is not to be believed: wrong signature,
	// repository or signing key.
	Forged bool
	// Signer is set when it is the signing key that is not to be believed, in
	// whatever snapshot of the client; only the first one is reported.
	Signer SigningKey
	Text   string // one line for people
}

// String says whose snapshots it is about, and what.
func (f Finding) String() string {
	if f.Client == "" {
		return f.Text
	}
	return fmt.Sprintf("%s/%s: %s", f.Client, f.Job, f.Text)
}

// Severity says what a Finding means for the exit status.
type Severity int

// The severities.
const (
	Note    Severity = iota // nothing wrong: a snapshot was forgotten
	Warning                 // first use of a signing key, a clock that went back
	Damage                  // forged, missing, reordered or rolled back: exit status 14
)

// ChainCheck is what VerifyChains needs. Store and Repository must be set.
type ChainCheck struct {
	Store interface {
		Snapshots
		Links
	}
	Repository object.RepositoryID // the repository that was asked for
	Only       Narrow              // chains to check; the zero value checks all
	Known      *Known              // what is known of the senders; nil means nothing
	// RequireTrusted makes a signing key that no person has pinned Damage
	// instead of a Warning on first use.
	RequireTrusted bool
}

// link is what VerifyChains keeps of one snapshot, about 200 bytes; it is the
// only thing in this package that grows, with the number of snapshots.
type link struct {
	seq                 uint64
	id, prev            object.ID
	signer              SigningKey
	received, forgotten int64
	leftOut             bool   // of the replica, when it was copied
	bad                 string // why the link is not to be believed
}

type chainName struct{ client, job string }

// VerifyChains checks the signed chain of every client and job: signatures,
// order, gaps, what was forgotten, pinned signing keys, and that each chain
// extends what was verified before. It yields its findings to report, and
// returns what there is to remember: keys seen for the first time, and the
// heads of the chains without Damage. The caller records them (UpdateKnown).
func VerifyChains(ctx context.Context, c ChainCheck, report func(Finding)) (*Known, error) {
	if c.Known == nil {
		c.Known = new(Known)
	}
	chains := map[chainName][]link{}
	collect := func(s *object.Snapshot) error {
		if c.Only.Match(s.Manifest) {
			n := chainName{s.Manifest.Client, s.Manifest.Job}
			chains[n] = append(chains[n], c.link(s))
		}
		return nil
	}
	partial := false
	for _, list := range []struct {
		what  string
		yield func(context.Context, func(*object.Snapshot) error) error
	}{{"snapshots", c.Store.Snapshots}, {"forgotten snapshots", c.Store.Links}} {
		err := list.yield(ctx, collect)
		switch {
		case errors.Is(err, object.CodeDamaged): // one file that can't be read doesn't hide all others
			partial = true
			report(Finding{Severity: Damage, Text: err.Error()})
		case err != nil:
			return nil, fmt.Errorf("listing %s: %w", list.what, err)
		}
	}
	// A chain that is known and has vanished as a whole is damage, too.
	for _, h := range c.Known.Heads {
		n := chainName{h.Client, h.Job}
		if h.Repository == c.Repository && (c.Only.Client == "" || c.Only.Client == h.Client) && (c.Only.Job == "" || c.Only.Job == h.Job) {
			chains[n] = append(chains[n], nil...)
		}
	}
	names := make([]chainName, 0, len(chains))
	for n := range chains {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b chainName) int {
		return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.job, b.job))
	})
	learned := new(Known)
	for _, n := range names {
		v := chainVerdict{ChainCheck: c, name: n, report: report, learned: learned, partial: partial}
		v.check(chains[n])
	}
	return learned, nil
}

func (c ChainCheck) link(s *object.Snapshot) link {
	m := s.Manifest
	l := link{seq: m.Seq, id: m.ID(), prev: m.Prev, signer: m.Signer, received: s.Received, forgotten: s.Forgotten, leftOut: s.Flags&object.FlagLeftOut != 0}
	switch {
	case m.Repository != c.Repository:
		l.bad = fmt.Sprintf("was made for repository %s, not for this one (%s)", m.Repository, c.Repository)
	case m.Verify() != nil:
		l.bad = "its signature does not verify: it was altered or forged"
	}
	return l
}

// chainVerdict checks one chain.
type chainVerdict struct {
	ChainCheck
	name    chainName
	report  func(Finding)
	learned *Known
	partial bool // there are files that could not be read, of this or another chain
	damaged bool
}

// unread ends a finding about what is missing.
func (v *chainVerdict) unread() string {
	if v.partial {
		return ", or can't read all it has"
	}
	return ""
}

func (v *chainVerdict) say(sev Severity, l *link, format string, args ...any) {
	v.send(Finding{Severity: sev, Text: fmt.Sprintf(format, args...)}, l)
}

// disown reports a signing key that is not to be believed.
func (v *chainVerdict) disown(l *link, format string, args ...any) {
	v.send(Finding{Severity: Damage, Forged: true, Signer: l.signer, Text: fmt.Sprintf(format, args...)}, l)
}

func (v *chainVerdict) send(f Finding, l *link) {
	f.Client, f.Job = v.name.client, v.name.job
	if l != nil {
		f.Seq, f.Snapshot = l.seq, l.id
	}
	v.damaged = v.damaged || f.Severity == Damage
	v.report(f)
}

func (v *chainVerdict) check(links []link) {
	slices.SortStableFunc(links, func(a, b link) int { return cmp.Or(cmp.Compare(a.seq, b.seq), a.id.Compare(b.id)) })
	// A snapshot that was forgotten and is back (unforget) is listed twice, the
	// live one first.
	links = slices.CompactFunc(links, func(a, b link) bool { return a.id == b.id })
	good := links[:0:0]
	for i := range links {
		if l := &links[i]; l.bad != "" {
			v.send(Finding{Severity: Damage, Forged: true, Text: fmt.Sprintf("snapshot %s: %s", l.id.Short(), l.bad)}, l)
		} else {
			good = append(good, *l)
		}
	}
	v.order(good)
	v.signers(good)
	v.memory(good)
	if n := len(good); n > 0 && !v.damaged {
		l := &good[n-1]
		v.learned.Remember(KnownHead{v.Repository, v.name.client, v.name.job, l.seq, l.id})
	}
}

// order checks that sequence numbers and previous ids form one line from 1 on.
func (v *chainVerdict) order(links []link) {
	var prev link // the zero link stands before number 1
	for i := range links {
		l := &links[i]
		switch {
		case l.seq == prev.seq:
			v.say(Damage, l, "snapshots %s and %s both are number %d", prev.id.Short(), l.id.Short(), l.seq)
		case l.seq == prev.seq+2:
			v.say(Damage, l, "snapshot number %d is missing: the store has neither it nor its signed link%s", l.seq-1, v.unread())
		case l.seq > prev.seq+1:
			v.say(Damage, l, "snapshots number %d to %d are missing: the store has neither them nor their signed links%s", prev.seq+1, l.seq-1, v.unread())
		case l.prev != prev.id:
			v.say(Damage, l, "snapshot %s names %s as the one before it, but that is %s", l.id.Short(), l.prev.Short(), prev.id.Short())
		case l.received < prev.received:
			v.say(Warning, l, "snapshot %s was received before number %d: the store's clock or its records were changed", l.id.Short(), prev.seq)
		}
		if l.forgotten != 0 {
			v.say(Note, l, "snapshot %s was forgotten at %s", l.id.Short(), time.Unix(0, l.forgotten).UTC().Format(time.RFC3339))
		}
		if l.leftOut {
			v.say(Note, l, "snapshot %s was not copied to this replica", l.id.Short())
		}
		prev = *l
	}
}

// signers checks every signing key of the chain against the pinned ones.
func (v *chainVerdict) signers(links []link) {
	pinned := v.Known.KeysOf(v.Repository, v.name.client)
	firstUse := len(pinned) == 0
	done := map[SigningKey]bool{}
	for i := range links {
		l := &links[i]
		if done[l.signer] {
			continue
		}
		done[l.signer] = true
		at := slices.IndexFunc(pinned, func(k KnownKey) bool { return k.Key == l.signer })
		switch {
		case at >= 0 && (pinned[at].Trusted || !v.RequireTrusted):
		case v.RequireTrusted:
			v.disown(l, "snapshot %s is signed by the key %s, which nobody has declared to be that of client %q; if it is, run: packnback trust SEND.pub", l.id.Short(), crypto.SignerFingerprint(l.signer), v.name.client)
		case firstUse:
			v.say(Warning, l, "first contact with client %q: its signing key %s is taken on trust; compare it with what the sender's SEND.pub says", v.name.client, crypto.SignerFingerprint(l.signer))
			v.learned.Pin(KnownKey{Repository: v.Repository, Client: v.name.client, Key: l.signer})
		default:
			v.disown(l, "snapshot %s is signed by the key %s, which is not a known one of client %q; if the client has a new send key, run: packnback trust SEND.pub", l.id.Short(), crypto.SignerFingerprint(l.signer), v.name.client)
		}
	}
}

// memory checks that the chain extends what was verified before.
func (v *chainVerdict) memory(links []link) {
	h, ok := v.Known.Head(v.Repository, v.name.client, v.name.job)
	if !ok {
		return
	}
	at, found := slices.BinarySearchFunc(links, h.Seq, func(l link, seq uint64) int { return cmp.Compare(l.seq, seq) })
	switch {
	case !found && (len(links) == 0 || links[len(links)-1].seq < h.Seq):
		v.say(Damage, nil, "the store has no snapshot number %d (%s) any more, which was verified here before: it was rolled back, or is a replica that is behind%s", h.Seq, h.Snapshot.Short(), v.unread())
	case found && links[at].id != h.Snapshot:
		v.say(Damage, &links[at], "number %d was %s when it was verified here before, and is %s now: history was rewritten", h.Seq, h.Snapshot.Short(), links[at].id.Short())
	}
}
