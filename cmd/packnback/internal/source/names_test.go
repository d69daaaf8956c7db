package source

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestManyEntries(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 3000 {
		name := fmt.Sprintf("%04d", i*7919%10000)
		want = append(want, name)
		if i%10 == 0 {
			makeTree(t, dir, "d "+name)
			continue
		}
		makeTree(t, dir, "f "+name)
	}
	slices.Sort(want)
	for _, workers := range []int{1, 4} {
		got := walkAll(t, dir, []string{"."}, Options{Workers: workers})
		for i, s := range got.items[1:] {
			if strings.TrimSuffix(s, "/") != want[i] {
				t.Fatalf("item %d is %q, want %q", i, s, want[i])
			}
		}
		if len(got.items)-1 != len(want) {
			t.Errorf("%d items, want %d", len(got.items)-1, len(want))
		}
	}
}

func TestSpilledNames(t *testing.T) {
	dir := t.TempDir()
	for i := range 5000 {
		makeTree(t, dir, fmt.Sprintf("f %x", i*2654435761%1000003))
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var n names
	defer n.close()
	temp := t.TempDir()
	if err := n.readAll(fd, 10_000, temp); err != nil {
		t.Fatal(err)
	}
	if err := n.sort(temp); err != nil {
		t.Fatal(err)
	}
	if len(n.ends) < 5 {
		t.Errorf("%d runs: nothing was spilled", len(n.ends))
	}
	es, err := os.ReadDir(dir) // sorted
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		if name, err := n.next(); name != e.Name() || err != nil {
			t.Fatalf("next: %q, %v; want %q", name, err, e.Name())
		}
	}
	if name, err := n.next(); err == nil {
		t.Errorf("one more name: %q", name)
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}
