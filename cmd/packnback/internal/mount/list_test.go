package mount

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/packnback/packnback/cmd/packnback/internal/view/viewtest"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/tree"
)

// rotten is a store of which a file can't be read: its listing says so when all
// others have been yielded.
type rotten struct{ *viewtest.Store }

func (r rotten) Snapshots(ctx context.Context, yield func(*object.Snapshot) error) error {
	return errors.Join(r.Store.Snapshots(ctx, yield), object.CodeDamaged.Errorf("snapshots/x is damaged"))
}

func TestListBesideDamage(t *testing.T) {
	b := viewtest.New(t)
	b.Commit(b.Dir(b.File("a", "a")), tree.Summary{})
	warned := 0
	l := &list{store: rotten{b.Store}, warn: func(string, error) { warned++ }}
	for range 2 {
		all, err := l.snapshots(context.Background())
		if err != nil || len(all) != 1 {
			t.Fatalf("got %v, %v; want the one snapshot", all, err)
		}
		l.read = time.Time{} // it is old
	}
	if warned != 1 {
		t.Errorf("warned %d times, want once", warned)
	}
}
