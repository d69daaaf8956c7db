package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/server"
	"github.com/packnback/packnback/repo/object"
)

func TestStreamsAreCancelled(t *testing.T) {
	conn, r := pair(t, server.Options{})
	var ids []object.ID
	for i := range 100 {
		c := chunk(fmt.Sprint(i), 128<<10)
		r.Add(c)
		ids = append(ids, c.ID)
	}
	enough := errors.New("enough")
	for range 3 * protocol.MaxStreams {
		n := 0
		err := conn.Fetch(t.Context(), ids, func(*object.Record) error {
			if n++; n == 2 {
				return enough
			}
			return nil
		})
		if err != enough || n != 2 {
			t.Fatalf("Fetch: got %v after %d records, want %v after 2", err, n, enough)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := conn.Fetch(ctx, ids, func(*object.Record) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Fetch with a cancelled context: got %v", err)
	}
	n := 0
	if err := conn.Fetch(t.Context(), ids, func(*object.Record) error { n++; return nil }); err != nil || n != len(ids) {
		t.Errorf("Fetch afterwards: got %v and %d records, want %d", err, n, len(ids))
	}
}

// TestASlowConsumerHoldsNobodyUp has a stream whose consumer waits for as many
// other streams as there may be.
func TestASlowConsumerHoldsNobodyUp(t *testing.T) {
	conn, r := pair(t, server.Options{})
	var ids []object.ID
	for i := range 12 {
		c := chunk(fmt.Sprint(i), 512<<10)
		r.Add(c)
		ids = append(ids, c.ID)
	}
	first := true
	err := conn.Fetch(t.Context(), ids, func(*object.Record) error {
		if !first {
			return nil
		}
		first = false
		var wg sync.WaitGroup
		for range protocol.MaxStreams - 1 {
			wg.Go(func() {
				if err := conn.Fetch(t.Context(), ids, func(*object.Record) error { return nil }); err != nil {
					t.Errorf("Fetch inside a Fetch: %v", err)
				}
			})
		}
		wg.Wait()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
