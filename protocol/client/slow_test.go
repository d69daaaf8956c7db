package client_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/protocol/client"
	"github.com/packnback/packnback/protocol/internal/memstore"
	"github.com/packnback/packnback/protocol/server"
)

// slowStore needs long to open a repository.
type slowStore struct {
	*memstore.Store
	takes time.Duration
}

func (s slowStore) Open(ctx context.Context, dir string) (server.Repository, error) {
	time.Sleep(s.takes)
	return s.Store.Open(ctx, dir)
}

// TestAStoreThatOpensSlowly says that it is alive before it says Welcome.
func TestAStoreThatOpensSlowly(t *testing.T) {
	for name, opt := range map[string]server.Options{"idle time": {Repository: "/r", Idle: 6 * time.Second}, "no idle time": {Repository: "/r"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				served := make(chan error, 1)
				go func() {
					served <- server.Serve(context.Background(), theirs, slowStore{memstore.New("/r"), 10 * protocol.AliveInterval}, opt, "test")
				}()
				conn, err := client.Connect(context.Background(), ours, client.Greeting{})
				if err != nil {
					<-served
					t.Fatalf("Connect: %v", err)
				}
				backup(t, conn, "root", chunk("a", 100))
				if err := conn.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				if err := <-served; err != nil {
					t.Errorf("Serve: %v", err)
				}
			})
		})
	}
}
