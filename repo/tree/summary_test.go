package tree

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func exampleSummary() *Summary {
	return &Summary{
		Program: "packnback 1", Hostname: "web1", Username: "root", Paths: []string{"/etc", "/home\xff"}, Tags: []string{"a=b", "nightly"}, Excludes: []string{"*.o"},
		Start: Time{1.7e9, 1}, End: Time{1.7e9 + 60, 999_999_999}, FilesNew: 1, FilesChanged: 2, FilesUnmodified: 300, DirsNew: 4, DirsChanged: 5, DirsUnmodified: 6,
		Others: 7, TotalBytes: 1 << 40, Added: 1 << 20, AddedPacked: 1 << 19, Errors: 8,
		Root: &Entry{Type: TypeDir, Mode: 0o755, UID: 1, GID: 2, User: "u", Group: "g", Mtime: Time{-5, 3}, Xattrs: []Xattr{{"user.a", []byte("v")}}},
	}
}

func TestSummary(t *testing.T) {
	for _, want := range []*Summary{{}, exampleSummary()} {
		b, err := want.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := UnmarshalSummary(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
	}
}

func TestSummaryOfManyPaths(t *testing.T) {
	s := exampleSummary()
	for range 100_000 {
		s.Paths = append(s.Paths, strings.Repeat("p", 50))
		s.Excludes = append(s.Excludes, strings.Repeat("x", 50))
	}
	b, err := s.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := UnmarshalSummary(b)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Paths); n < 1000 || got.MorePaths != uint64(len(s.Paths)-n) {
		t.Errorf("%d paths and %d more, want %d together", n, got.MorePaths, len(s.Paths))
	}
	again, err := got.Append(nil)
	if err != nil || string(again) != string(b) {
		t.Errorf("written again it differs (%v)", err)
	}
}

func TestSummaryLimits(t *testing.T) {
	for name, edit := range map[string]func(*Summary){
		"tags":       func(s *Summary) { s.Tags = strings.SplitAfter(strings.Repeat("t=1 ", 20_000), " ") },
		"tag":        func(s *Summary) { s.Tags = []string{strings.Repeat("t", maxSummaryText+1)} },
		"attributes": func(s *Summary) { s.Root.Xattrs = []Xattr{{"a", make([]byte, MaxXattrValue+1)}} },
	} {
		s := exampleSummary()
		edit(s)
		_, err := s.Append(nil)
		var limit *LimitError
		if !errors.As(err, &limit) {
			t.Errorf("%s: got %v, want a LimitError", name, err)
		}
	}
	s := exampleSummary()
	s.Root.Name = "x"
	if _, err := s.Append(nil); err == nil {
		t.Error("topmost folder with a name: no error")
	}
}
