package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/repo/object"
)

// lists are the answers that whoever asks may hold as a whole: an item of each,
// the end of each, and how it is asked for.
func lists() map[string]struct {
	item, end protocol.Message
	ask       func(ctx context.Context, c *client.Conn, seen *int) error
} {
	type list = struct {
		item, end protocol.Message
		ask       func(ctx context.Context, c *client.Conn, seen *int) error
	}
	m := manifest(standing(), nameID("root"), []byte("sealed"))
	live := &object.Snapshot{Received: 1, Manifest: m, Sealed: []byte("sealed")}
	gone := &object.Snapshot{Received: 1, Forgotten: 2, Flags: object.FlagForgotten, Manifest: m}
	decision := &protocol.Decision{Client: "web1", Job: "default", ID: nameID("a")}
	job := &protocol.JobStatus{Client: "web1", Job: "default"}
	status := &protocol.Status{}
	done := &protocol.Bare{Kind: protocol.TypeDone, Number: 1}
	event := func(b []byte) protocol.Message { return &protocol.Outcome{Number: 1, Body: b} }
	result := func(b []byte) protocol.Message { return &protocol.Outcome{Final: true, Number: 1, Body: b} }
	count := func(seen *int) func(*object.Snapshot) error {
		return func(*object.Snapshot) error { *seen++; return nil }
	}
	return map[string]list{
		"snapshots": {&protocol.Snapshot{Number: 1, Snapshot: live}, done,
			func(ctx context.Context, c *client.Conn, seen *int) error { return c.Snapshots(ctx, count(seen)) }},
		"forgotten snapshots": {&protocol.Snapshot{Number: 1, Snapshot: gone}, done,
			func(ctx context.Context, c *client.Conn, seen *int) error { return c.Links(ctx, count(seen)) }},
		"snapshots in the trash": {event(gone.Append(nil)), result(nil),
			func(ctx context.Context, c *client.Conn, seen *int) error { return c.Trash(ctx, count(seen)) }},
		"decisions": {event(decision.Append(nil)), result(nil),
			func(ctx context.Context, c *client.Conn, seen *int) error {
				return c.ApplyPolicy(ctx, protocol.PolicyArguments{Configured: true}, func(protocol.Decision) { *seen++ })
			}},
		"jobs": {event(job.Append(nil)), result(status.Append(nil)),
			func(ctx context.Context, c *client.Conn, seen *int) error {
				_, err := c.Status(ctx, func(protocol.JobStatus) { *seen++ })
				return err
			}},
	}
}

// TestAStoreThatListsTooMuch lists as many items as it may, and then more than
// that, in items or in bytes.
func TestAStoreThatListsTooMuch(t *testing.T) {
	const most = 100
	for what, l := range lists() {
		for _, c := range []struct {
			name         string
			sent         int
			items, bytes int
			want         int // that come through
			refused      bool
		}{
			{"all that it may", most, most, most << 10, most, false},
			{"one more", most + 1, most, most << 10, most, true},
			{"without end", 1 << 20, most, most << 10, most, true},
			{"too many bytes", most, most, 10, 0, true},
		} {
			if c.bytes < most && (what == "snapshots" || what == "forgotten snapshots") {
				continue // which are small without their sealed parts
			}
			t.Run(what+", "+c.name, func(t *testing.T) {
				conn := lie(t, func(far *liar) {
					far.hear()
					item := frame(l.item)
					for range c.sent {
						if _, err := far.conn.Write(item); err != nil {
							return
						}
					}
					_, _ = far.conn.Write(frame(l.end)) // the client may have hung up
				})
				conn.SetListed(c.items, c.bytes)
				seen := 0
				err := l.ask(t.Context(), conn, &seen)
				if seen != c.want {
					t.Errorf("%d items came through, want %d", seen, c.want)
				}
				if !c.refused {
					if err != nil {
						t.Error(err)
					}
					return
				}
				var many *client.ListError
				if !errors.As(err, &many) || many.What != what || strings.Contains(err.Error(), "\n") {
					t.Fatalf("got %v, want a *ListError about %s", err, what)
				}
				malformed(t, what, err)
				_, err = conn.Stats(t.Context())
				malformed(t, "the next request", err)
			})
		}
	}
}
