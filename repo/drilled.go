package repo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
)

const (
	drilledMagic = "PNBdril\x01"
	maxDrilled   = len(drilledMagic) + object.RepositoryIDSize + 2*(1+object.MaxName) + object.IDSize + 5*8 + 8
)

// Drill is what somebody found out by trying to restore a job's snapshot. The
// store believes it and decides nothing by it.
type Drill struct {
	Snapshot object.ID
	Time     int64  // when it was recorded, by the store's clock, nanoseconds since 1970; 0: never
	Files    uint64 // in the snapshot
	Read     uint64 // of them, whose contents were read; at most Files
	Bytes    uint64 // of those
	Lost     uint64 // files and folders that could not have been restored
}

// drilled is the file of that name: packnback-repository(5), "HEADS".
type drilled struct {
	repository  object.RepositoryID
	client, job string
	Drill
}

func drilledName(client, job string) string { return headFolder(client, job) + "/drilled" }

func (d *drilled) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, drilledMagic...)
	dst = append(dst, d.repository[:]...)
	dst = appendName(dst, d.client)
	dst = appendName(dst, d.job)
	dst = append(dst, d.Snapshot[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(d.Time))
	for _, n := range []uint64{d.Files, d.Read, d.Bytes, d.Lost} {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	return appendSum(dst, start)
}

// unmarshalDrilled is append's inverse.
func unmarshalDrilled(b []byte) (*drilled, error) {
	f, err := openSummed(b, drilledMagic, maxDrilled)
	if err != nil {
		return nil, err
	}
	d := new(drilled)
	copy(d.repository[:], f.take(len(d.repository)))
	if d.client, err = f.name("client"); err != nil {
		return nil, err
	}
	if d.job, err = f.name("job"); err != nil {
		return nil, err
	}
	d.Snapshot, d.Time = f.id(), int64(f.uint64())
	d.Files, d.Read, d.Bytes, d.Lost = f.uint64(), f.uint64(), f.uint64(), f.uint64()
	if err := f.end(); err != nil {
		return nil, err
	}
	return d, d.check()
}

func (d *Drill) check() error {
	if d.Snapshot.IsZero() || d.Time <= 0 || d.Read > d.Files {
		return fmt.Errorf("%w: drill of %s at %d, %d of %d files read", object.ErrMalformed, d.Snapshot.Short(), d.Time, d.Read, d.Files)
	}
	return nil
}

// RecordDrill notes the outcome of trying to restore a snapshot, which must be
// one of client and job. d.Time is ignored: the note gets the store's own time.
// Safe for concurrent use.
func (r *Repository) RecordDrill(ctx context.Context, client, job string, d Drill) error {
	for _, err := range []error{object.CheckName("client", client), object.CheckName("job", job)} {
		if err != nil {
			return object.CodeInvalid.Errorf("recording a drill: %w", err)
		}
	}
	d.Time = max(r.now(), 1)
	if err := d.check(); err != nil {
		return object.CodeInvalid.Errorf("recording a drill: %w", err)
	}
	snap, err := r.findSnapshot(d.Snapshot)
	if err != nil {
		return err
	}
	if snap.Manifest.Client != client || snap.Manifest.Job != job {
		return object.CodeInvalid.Errorf("recording a drill: snapshot %s is none of %s/%s", d.Snapshot.Short(), client, job)
	}
	lock, err := r.lockHead(ctx, client, job)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return r.replaceFile(drilledName(client, job), (&drilled{r.id, client, job, d}).append(nil))
}

// lastDrill returns what the last drill of a job left behind; where there is
// none, or nothing that can be read, a zero value: the next drill writes it
// anew.
func (r *Repository) lastDrill(client, job string) (Drill, error) {
	name := drilledName(client, job)
	b, err := disk.ReadFile(r.fs, name, int64(maxDrilled))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, disk.ErrLong) {
		return Drill{}, nil
	}
	if err != nil {
		return Drill{}, storeError("reading", name, err)
	}
	d, err := unmarshalDrilled(b)
	if err != nil || d.repository != r.id || d.client != client || d.job != job {
		return Drill{}, nil
	}
	return d.Drill, nil
}
