package source

import (
	"bufio"
	"container/heap"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// names is the sorted names of one folder. A folder with so many that they
// exceed their budget has them in an unlinked temporary file, as sorted runs
// that are merged while reading.
type names struct {
	memory []string
	bytes  int      // that memory takes, roughly
	file   *os.File // the runs; nil while everything is in memory
	ends   []int64  // where each run ends
	merge  runHeap
	last   string // given out last; a folder that changes may list a name twice
	begun  bool
}

// nameOverhead is what a name costs in memory beside its bytes.
const nameOverhead = 32

var direntBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// read lists the folder until its end or until the names take limit bytes, and
// reports whether it came to the end. It is called again to read on.
func (n *names) read(fd, limit int) (complete bool, err error) {
	pooled := direntBuffers.Get().(*[32 << 10]byte)
	defer direntBuffers.Put(pooled)
	buf := pooled[:]
	for n.bytes <= limit {
		var got int
		if err := retry(func() (err error) { got, err = unix.ReadDirent(fd, buf); return err }); err != nil {
			return false, err
		}
		if got <= 0 {
			return true, nil
		}
		before := len(n.memory)
		_, _, n.memory = unix.ParseDirent(buf[:got], -1, n.memory)
		for _, s := range n.memory[before:] {
			n.bytes += len(s) + nameOverhead
		}
	}
	return false, nil
}

// readAll lists the rest of the folder, spilling whenever limit is exceeded.
func (n *names) readAll(fd, limit int, tempDir string) error {
	for {
		complete, err := n.read(fd, limit)
		if err != nil || complete {
			return err
		}
		if err := n.spill(tempDir); err != nil {
			return fmt.Errorf("sorting the names of a large folder: %w", err)
		}
	}
}

// spill writes the names in memory as a sorted run.
func (n *names) spill(tempDir string) error {
	if n.file == nil {
		f, err := os.CreateTemp(tempDir, "packnback-names-*")
		if err != nil {
			return err
		}
		n.file = f
		if err := os.Remove(f.Name()); err != nil {
			return err
		}
	}
	slices.Sort(n.memory)
	w := bufio.NewWriterSize(n.file, 64<<10)
	end := int64(0)
	if len(n.ends) > 0 {
		end = n.ends[len(n.ends)-1]
	}
	var head [2]byte
	for _, s := range n.memory {
		binary.BigEndian.PutUint16(head[:], uint16(len(s))) // a kernel's name is shorter than 64 KiB
		_, _ = w.Write(head[:])                             // Flush reports it
		_, _ = w.WriteString(s)
		end += int64(len(head) + len(s))
	}
	n.ends = append(n.ends, end)
	n.memory, n.bytes = n.memory[:0], 0
	return w.Flush()
}

// sort prepares next. With runs on file the rest in memory becomes one too.
func (n *names) sort(tempDir string) error {
	if n.file == nil {
		slices.Sort(n.memory)
		return nil
	}
	if err := n.spill(tempDir); err != nil {
		return err
	}
	n.memory = nil
	start := int64(0)
	for _, end := range n.ends {
		r := &run{r: bufio.NewReaderSize(io.NewSectionReader(n.file, start, end-start), 16<<10)}
		start = end
		if err := r.next(); err == io.EOF {
			continue
		} else if err != nil {
			return err
		}
		n.merge = append(n.merge, r)
	}
	heap.Init(&n.merge)
	return nil
}

// next returns the next name, and io.EOF after the last.
func (n *names) next() (string, error) {
	for {
		name, err := n.take()
		if err != nil {
			return "", err
		}
		if !n.begun || name != n.last {
			n.begun, n.last = true, name
			return name, nil
		}
	}
}

func (n *names) take() (string, error) {
	if n.file == nil {
		if len(n.memory) == 0 {
			return "", io.EOF
		}
		name := n.memory[0]
		n.memory = n.memory[1:]
		return name, nil
	}
	if len(n.merge) == 0 {
		return "", io.EOF
	}
	r := n.merge[0]
	name := r.name
	switch err := r.next(); err {
	case nil:
		heap.Fix(&n.merge, 0)
	case io.EOF:
		heap.Pop(&n.merge)
	default:
		return "", err
	}
	return name, nil
}

func (n *names) close() {
	if n.file != nil {
		_ = n.file.Close() // unlinked and only read from
		n.file = nil
	}
	n.memory = nil
}

// run reads one sorted run.
type run struct {
	r    *bufio.Reader
	name string
}

func (r *run) next() error {
	var head [2]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return err
	}
	b := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(r.r, b); err != nil {
		return fmt.Errorf("reading a temporary file: %w", err)
	}
	r.name = string(b)
	return nil
}

type runHeap []*run

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return h[i].name < h[j].name }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)        { *h = append(*h, x.(*run)) }
func (h *runHeap) Pop() any {
	old := *h
	r := old[len(old)-1]
	*h = old[:len(old)-1]
	return r
}
