package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/cmd/packnback/internal/view"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
)

// snapshotFlags are the flags of commands that read what is in a snapshot.
func snapshotFlags() []cli.Flag {
	return append(narrowFlags(),
		&cli.BoolFlag{Name: "require-trusted", Usage: "refuse snapshots whose signing key was not declared by packnback trust"})
}

// reading is an open repository that is read with a key.
type reading struct {
	*program
	store   store
	reader  *view.Reader   // nil until unlock
	purpose crypto.Purpose // of the key
	only    view.Narrow
	trusted bool  // --require-trusted
	damage  error // the first finding about a chain that does not concern what is being read
}

// withReading opens the repository and calls do. Findings about
// the chains that do has read from make an error at the end, even when do
// succeeded.
func (p *program) withReading(c *cli.Context, do func(r *reading) error) error {
	only, err := narrow(c)
	if err != nil {
		return err
	}
	return p.withStore(c.Context, func(s store) error {
		r := &reading{program: p, store: s, only: only, trusted: c.Bool("require-trusted")}
		if err := do(r); err != nil {
			return readFault(err)
		}
		return r.damage
	})
}

// unlock reads the key, unless that was done. It comes after everything that
// can fail without one: nobody should type a passphrase for a mistyped id.
func (r *reading) unlock(ctx context.Context) error {
	if r.reader != nil {
		return nil
	}
	k, err := r.readKey(ctx)
	if err != nil {
		return err
	}
	o := crypto.NewOpener(k.Identities()...)
	if err := r.addRewrap(o); err != nil {
		return err
	}
	r.purpose = k.Purpose()
	r.reader, err = view.NewReader(r.store, o)
	return err
}

// readFault gives the errors of reading their exit status and a hint.
func readFault(err error) error {
	switch {
	case errors.Is(err, view.ErrSelector):
		return withHint(usageErrorf("%v", err), "packnback snapshots lists the ids")
	case errors.Is(err, crypto.ErrNotRecipient):
		return withHint(withStatus(statusKey, err), "use a key that the snapshot was sealed to, with --key FILE")
	case errors.Is(err, object.ErrSignature) || view.Lost(err) && !errors.Is(err, object.CodeNotFound):
		return withHint(withStatus(statusDamage, err), "packnback check --read-data finds what else is damaged")
	case errors.Is(err, object.CodeNotFound):
		return withHint(err, "packnback snapshots lists snapshots, packnback ls what is in them")
	}
	var several *view.AmbiguousError
	if errors.As(err, &several) {
		if len(several.IDs) > 0 {
			return withHint(err, "write more digits of the id")
		}
		return withHint(err, "name one with --client")
	}
	return err
}

// pinnedHint says where clients that seem to have vanished may be: behind the
// pin of a connection. It doesn't make up for them by itself, because a store
// could say so of clients that it has lost.
func (r *reading) pinnedHint(err error) error {
	far, ok := r.store.(*remoteStore)
	if !ok || far.pinnedTo() == "" || r.only.Client != "" {
		return err
	}
	return withHint(err, fmt.Sprintf("the store shows this connection client %s only; --client %[1]s leaves the others alone", far.pinnedTo()))
}

// parseSelector reads a SNAP or SNAP:/path operand.
func parseSelector(operand string) (view.Selector, error) {
	sel, err := view.ParseSelector(operand)
	if err != nil {
		return sel, readFault(err)
	}
	return sel, nil
}

// open finds the snapshot that sel names, opens it and checks who signed it.
func (r *reading) open(ctx context.Context, sel view.Selector) (*view.Snapshot, error) {
	snap, unread, err := view.Resolve(ctx, r.store, sel, r.only)
	if err = cmp.Or(err, r.partly(unread)); err != nil {
		return nil, err
	}
	if unread != nil && sel.Prefix == "" {
		r.warnf("\"latest\" is the newest snapshot that can be read, %s of %s; there may be a newer one", snap.ID().Short(), ui.Time(time.Unix(0, snap.Received)))
	}
	if err := r.unlock(ctx); err != nil {
		return nil, err
	}
	opened, err := r.reader.Open(ctx, snap)
	if err != nil {
		return nil, err
	}
	return opened, r.checkSigner(ctx, snap)
}

// needContent refuses a key that reads names only. The key is unlocked.
func (r *reading) needContent() error {
	if r.purpose == crypto.ForRestore {
		return nil
	}
	return withStatus(statusKey, withHint(errors.New("this is a list key: it reads names and never contents"), "name the restore key with --key FILE"))
}

// scratch returns an existing folder for temporary files. /tmp is often in
// memory, which is what the files are to save.
func (p *program) scratch() string {
	if dir := p.env.Getenv("TMPDIR"); dir != "" {
		return dir
	}
	const disk = "/var/tmp"
	if info, err := os.Stat(disk); err == nil && info.IsDir() {
		return disk
	}
	return os.TempDir()
}
