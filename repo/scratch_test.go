package repo

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/packnback/packnback/repo/internal/disk"
	"github.com/packnback/packnback/repo/object"
	"github.com/packnback/packnback/repo/storetest"
)

// TestSweep sweeps while others make and close scratch folders, on the real
// file system: nobody's folder may go, and none may be left.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	fsys := disk.OS(dir)
	if err := initFS(t.Context(), fsys, dir, testID, nil); err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for i := range 4 {
		g.Go(func() error {
			r := openRepository(t, fsys)
			defer r.Close()
			for range 40 {
				s, err := r.newScratch(t.Context())
				if err != nil {
					return err
				}
				name := s.file(fmt.Sprint("file", i))
				if err := createFile(fsys, name, []byte("x")); err != nil {
					return err
				}
				if err := r.sweep(); err != nil {
					return err
				}
				if there, err := exists(fsys, name); err != nil || !there {
					return fmt.Errorf("%s was swept away (%v)", name, err)
				}
				if err := s.close(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	// What a process that ended has left.
	if err := fsys.Mkdir("tmp/left"); err != nil {
		t.Fatal(err)
	}
	if err := createFile(fsys, "tmp/left/run", []byte("x")); err != nil {
		t.Fatal(err)
	}
	r := openRepository(t, fsys)
	defer r.Close()
	if err := r.sweep(); err != nil {
		t.Fatal(err)
	}
	if left := files(t, fsys, "tmp"); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

// TestManyUnfinished leaves uploads of ever more jobs unfinished, as a hostile
// sender might.
func TestManyUnfinished(t *testing.T) {
	d := newDisk(t)
	r := openRepository(t, d.Process())
	defer r.Close()
	begin := func(job string) error {
		s, err := r.OpenSession(t.Context(), SessionRequest{Client: "web1", Job: job})
		if err != nil {
			return err
		}
		if err := s.Put(t.Context(), storetest.NewUpload("web1", 1).Object(object.KindChunk, 10)); err != nil {
			t.Fatal(err)
		}
		return s.Close()
	}
	for i := range maxUnfinished {
		if err := begin(fmt.Sprint("job", i)); err != nil {
			t.Fatalf("upload %d: %v", i, err)
		}
	}
	wantCode(t, "one more job", begin("another"), object.CodeBusy)
	if err := begin("job7"); err != nil {
		t.Errorf("going on with one of them: %v", err)
	}
	s, err := r.OpenSession(t.Context(), SessionRequest{Client: "web2", Job: "another"})
	if err != nil {
		t.Fatalf("another client: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
