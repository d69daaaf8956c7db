package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/repo/object"
)

// checkSigner checks the chain that snap stands in against known_clients, and
// records what was learned. A snapshot by an unknown signer is an error; other
// damage is told, and is the error of the whole run later.
func (r *reading) checkSigner(ctx context.Context, snap *object.Snapshot) error {
	m := snap.Manifest
	var forged error
	_, err := r.checkChains(ctx, view.Narrow{Client: m.Client, Job: m.Job}, func(f view.Finding) {
		switch {
		case f.Severity == view.Note:
		case f.Severity == view.Warning:
			r.warnf("%s", f.Text)
		case f.Forged && (f.Snapshot == snap.ID() || f.Signer == view.SigningKey(m.Signer)):
			forged = withStatus(statusDamage, errors.New(f.Text))
		default:
			r.warnf("%v", f)
			r.noteDamage(f)
		}
	})
	if forged != nil {
		return forged
	}
	return err
}

// noteDamage makes a finding the error of the whole run if it is the first.
func (r *reading) noteDamage(f view.Finding) {
	switch {
	case r.damage != nil:
	case f.Client == "":
		r.damage = withStatus(statusDamage, errors.New(f.Text))
	default:
		r.damage = withStatus(statusDamage, fmt.Errorf("the chain of snapshots of %s/%s is damaged: %s", f.Client, f.Job, f.Text))
	}
}

// partly takes the error of a listing. Files that can't be read don't hide the
// other snapshots; they are the error of the whole run.
func (r *reading) partly(err error) error {
	if !errors.Is(err, object.CodeDamaged) {
		return err
	}
	r.noteDamage(view.Finding{Text: err.Error()})
	return nil
}

// checkChains verifies chains against known_clients, records what was learned
// from them, and returns what is known now.
func (r *reading) checkChains(ctx context.Context, only view.Narrow, report func(view.Finding)) (*view.Known, error) {
	check := view.ChainCheck{Store: r.store, Repository: r.store.ID(), Only: only, RequireTrusted: r.trusted}
	path, err := r.knownClients()
	if err == nil {
		check.Known, err = view.LoadKnown(path)
	}
	if err != nil {
		return nil, withHint(err, "known_clients remembers who signs which backups; set HOME or XDG_STATE_HOME")
	}
	learned, err := view.VerifyChains(ctx, check, report)
	if err != nil {
		return nil, err
	}
	add := func(k *view.Known) error {
		for _, key := range learned.Keys {
			k.Pin(key)
		}
		for _, head := range learned.Heads {
			k.Remember(head)
		}
		return nil
	}
	if len(learned.Keys)+len(learned.Heads) > 0 {
		if err := view.UpdateKnown(path, add); err != nil { // a rescue system's home may be read-only
			r.warnf("what was learned about the senders can't be recorded: %v", err)
		}
	}
	return check.Known, add(check.Known)
}

// believed returns a check of whether a snapshot of any chain is signed by a
// key that this machine believes in. What is wrong with the chains is warned of.
func (r *reading) believed(ctx context.Context) (func(*object.Snapshot) error, error) {
	disowned := map[view.SigningKey]string{}
	known, err := r.checkChains(ctx, r.only, func(f view.Finding) {
		if f.Signer != (view.SigningKey{}) {
			disowned[f.Signer] = f.Text
		}
		if f.Severity != view.Note {
			r.warnf("%v", f)
		}
		if f.Client == "" {
			r.noteDamage(f)
		}
	})
	if err != nil {
		return nil, err
	}
	return func(s *object.Snapshot) error {
		m := s.Manifest
		if err := m.Verify(); err != nil {
			return err
		}
		if text, bad := disowned[m.Signer]; bad || m.Repository != r.store.ID() {
			return errors.New(cmp.Or(text, "it was made for another repository"))
		}
		for _, k := range known.KeysOf(r.store.ID(), m.Client) {
			if k.Key == m.Signer {
				return nil
			}
		}
		return fmt.Errorf("it is signed by a key that is not known for client %q", m.Client)
	}, nil
}
