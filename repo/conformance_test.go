package repo_test

import (
	"context"
	"testing"

	"github.com/packnback/packnback/repo"
	"github.com/packnback/packnback/repo/storetest"
)

// backend is a repository on the real file system.
type backend struct{ r *repo.Repository }

func (b backend) Open(ctx context.Context, req storetest.Request) (storetest.Session, error) {
	s, err := b.r.OpenSession(ctx, repo.SessionRequest{Client: req.Client, Job: req.Job, Base: req.Base, Quota: req.Quota, Blind: req.Blind})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (b backend) Reader(context.Context) (storetest.Reader, error) { return b.r, nil }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		r, err := repo.Init(t.Context(), t.TempDir(), repo.InitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
		return backend{r}
	})
}
