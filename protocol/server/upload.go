package server

import (
	"context"
	"sync"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// beat is how often an upload is asked how much of it is durable while no puts
// come in.
const beat = time.Second

// upload is the one upload that a connection may have open.
type upload struct {
	Upload
	opened    uint32 // number of its Open
	failed    error  // why puts are thrown away
	committed bool
	stop      func() // ends the goroutine that reports what is durable

	mu      sync.Mutex
	durable uint64 // what the client was told
}

// open handles Open.
func (c *conn) open(ctx context.Context, b []byte) error {
	m, err := protocol.UnmarshalOpen(b)
	if err != nil {
		return err
	}
	request, err := c.opt.request(m)
	return c.openUpload(ctx, m.Number, request, err)
}

// openUpload answers request n for an upload, which err refuses already unless
// it is nil.
func (c *conn) openUpload(ctx context.Context, n uint32, request Request, err error) error {
	if err := c.number(n); err != nil {
		return err
	}
	if c.upload != nil {
		return object.CodeMalformed.Errorf("Open while an upload is open")
	}
	if err == nil && c.repo == nil {
		err = c.absent()
	}
	if err == nil {
		err = c.life.work(func() error { return c.begin(ctx, n, request) })
	}
	if err != nil {
		// Requests that are on their way already belong to an upload that failed.
		c.upload = &upload{opened: n, failed: err}
		return c.fail(ctx, n, err)
	}
	st := c.upload.Standing()
	// A client learns of the newest; the older ones count for it all the same.
	st.Adopted = st.Adopted[max(0, len(st.Adopted)-protocol.MaxAdopted):]
	return c.out.Send(ctx, &protocol.Opened{Number: n, Standing: st})
}

func (c *conn) begin(ctx context.Context, n uint32, request Request) error {
	session, err := c.repo.OpenUpload(ctx, request)
	if err != nil {
		return err
	}
	u := &upload{Upload: session, opened: n}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				// A failed send shows itself to the goroutine that reads.
				_ = c.report(ctx, u)
			}
		}
	}()
	u.stop = func() { cancel(); <-done }
	c.upload = u
	return nil
}

// report tells the client when more of u is durable than it knows.
func (c *conn) report(ctx context.Context, u *upload) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.Durable()
	if now <= u.durable {
		return nil
	}
	u.durable = now
	return c.out.Send(ctx, &protocol.Durable{Puts: now})
}

// put handles Put.
func (c *conn) put(ctx context.Context, b []byte) error {
	u := c.upload
	switch {
	case u == nil || u.committed:
		return object.CodeMalformed.Errorf("Put without an open upload")
	case u.failed != nil:
		return nil
	}
	m, err := protocol.UnmarshalPut(b)
	if err == nil {
		err = c.life.work(func() error { return u.Put(ctx, m.Record) })
	} else {
		err = broken(err)
	}
	if err != nil {
		u.failed = err
		return c.fail(ctx, u.opened, err)
	}
	return c.report(ctx, u)
}

// during is how requests within an upload begin: it takes the request's number
// and finds the upload. When the upload has failed it answers for it, and
// returns nil.
func (c *conn) during(ctx context.Context, t protocol.Type, n uint32) (*upload, error) {
	if err := c.number(n); err != nil {
		return nil, err
	}
	u := c.upload
	switch {
	case u == nil || u.committed:
		return nil, object.CodeMalformed.Errorf("%s without an open upload", t)
	case u.failed != nil:
		return nil, c.fail(ctx, n, u.failed)
	}
	return u, nil
}

// have handles Have.
func (c *conn) have(ctx context.Context, b []byte) error {
	m, err := protocol.UnmarshalHave(b)
	if err != nil {
		return err
	}
	u, err := c.during(ctx, protocol.TypeHave, m.Number)
	if u == nil {
		return err
	}
	var held []bool
	err = c.life.work(func() error { held, err = u.Have(ctx, m.IDs); return err })
	if err == nil && len(held) != len(m.IDs) {
		err = object.CodeInternal.Errorf("%d answers to %d questions", len(held), len(m.IDs))
	}
	if err != nil {
		return c.fail(ctx, m.Number, err)
	}
	return c.out.Send(ctx, &protocol.Held{Number: m.Number, Held: held})
}

// checkpoint handles Checkpoint.
func (c *conn) checkpoint(ctx context.Context, b []byte) error {
	m, err := protocol.UnmarshalBare(protocol.TypeCheckpoint, b)
	if err != nil {
		return err
	}
	u, err := c.during(ctx, protocol.TypeCheckpoint, m.Number)
	if u == nil {
		return err
	}
	if err := c.life.work(func() error { return u.Checkpoint(ctx) }); err != nil {
		return c.fail(ctx, m.Number, err)
	}
	if err := c.report(ctx, u); err != nil {
		return err
	}
	return c.out.Send(ctx, &protocol.Bare{Kind: protocol.TypeDone, Number: m.Number})
}

// commit handles Commit.
func (c *conn) commit(ctx context.Context, b []byte) error {
	m, err := protocol.UnmarshalCommit(b)
	if err != nil {
		return err
	}
	u, err := c.during(ctx, protocol.TypeCommit, m.Number)
	if u == nil {
		return err
	}
	return c.conclude(ctx, m.Number, u, func() (object.Receipt, error) { return u.Commit(ctx, m.Manifest, m.Sealed) })
}

// conclude answers request n with what commit has to say of the upload u.
func (c *conn) conclude(ctx context.Context, n uint32, u *upload, commit func() (object.Receipt, error)) error {
	var receipt object.Receipt
	err := c.life.work(func() (err error) { receipt, err = commit(); return err })
	if err != nil {
		return c.fail(ctx, n, err)
	}
	u.committed = true
	return c.out.Send(ctx, &protocol.Committed{Number: n, Receipt: receipt})
}

// close handles Close.
func (c *conn) close(ctx context.Context, b []byte) error {
	m, err := protocol.UnmarshalBare(protocol.TypeClose, b)
	if err != nil {
		return err
	}
	if err := c.number(m.Number); err != nil {
		return err
	}
	if c.upload == nil {
		return object.CodeMalformed.Errorf("Close without an open upload")
	}
	if err := c.life.work(c.closeUpload); err != nil {
		return c.fail(ctx, m.Number, err)
	}
	return c.out.Send(ctx, &protocol.Bare{Kind: protocol.TypeDone, Number: m.Number})
}

// closeUpload ends the upload if there is one. What isn't committed stays
// adoptable.
func (c *conn) closeUpload() error {
	u := c.upload
	c.upload = nil
	if u == nil || u.Upload == nil {
		return nil
	}
	u.stop()
	return u.Upload.Close()
}
