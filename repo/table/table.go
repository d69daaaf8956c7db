package table

import (
	"encoding/binary"
	"fmt"
	"iter"
	"runtime/debug"
	"sync/atomic"

	"github.com/packnback/packnback/repo/internal/disk"
)

// Table is an open table. It may be used by several goroutines at once until
// it is closed; rows it returned are gone then, too.
type Table struct {
	name   string
	layout Layout
	n      int
	bits   int
	rows   []byte
	sums   []byte
	fan    []byte
	good   []atomic.Uint32 // one bit for each block whose checksum was verified

	file disk.File // nil when the Table was made of bytes
}

// Open maps the table name, which must be complete and never change again. It
// fails with ErrDamaged when the file is not a table of layout l or when its
// head, tail, checksums or fan-out are not whole; blocks of rows are verified
// when they are first touched.
func Open(fsys FS, name string, l Layout) (*Table, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening table: %w", err)
	}
	b, err := f.Map()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening table: %w", err)
	}
	t, err := New(b, name, l)
	if err != nil {
		f.Close()
		return nil, err
	}
	t.file = f
	return t, nil
}

// New returns the table that b is, no byte more. name is for error messages.
// The table shares b.
func New(b []byte, name string, l Layout) (t *Table, err error) {
	defer catchFault(name, &err, debug.SetPanicOnFault(true))
	if err := l.check(); err != nil {
		return nil, err
	}
	if len(b) < headSize+countSize+tailSize {
		return nil, fmt.Errorf("%w %q: %d bytes are too few", ErrDamaged, name, len(b))
	}
	if head := l.appendHead(nil); string(b[:headSize]) != string(head) {
		return nil, fmt.Errorf("%w %q: begins with %x, want %x", ErrDamaged, name, b[:headSize], head)
	}
	tail := b[len(b)-tailSize:]
	n, bits := binary.BigEndian.Uint64(tail), binary.BigEndian.Uint32(tail[8:])
	if n > MaxRows || int(bits) != fanBits(int(n)) || binary.BigEndian.Uint32(tail[12:]) != 0 || string(tail[16:24]) != string(l.Magic[:]) {
		return nil, fmt.Errorf("%w %q: its tail makes no sense; is it truncated?", ErrDamaged, name)
	}
	rows := n * uint64(l.Row) // below 2^44
	blocks := (n + uint64(l.perBlock()) - 1) / uint64(l.perBlock())
	if want := headSize + rows + blocks*sumSize + countSize<<bits + tailSize; uint64(len(b)) != want {
		return nil, fmt.Errorf("%w %q: %d bytes, its tail says %d", ErrDamaged, name, len(b), want)
	}
	end := b[headSize+rows:]
	if checksum(end[:len(end)-8]) != binary.BigEndian.Uint64(tail[24:]) {
		return nil, fmt.Errorf("%w %q: checksum of its end does not match", ErrDamaged, name)
	}
	t = &Table{
		name: name, layout: l, n: int(n), bits: int(bits),
		rows: b[headSize : headSize+rows : headSize+rows],
		sums: end[:blocks*sumSize],
		fan:  end[blocks*sumSize:][:countSize<<bits],
		good: make([]atomic.Uint32, (blocks+31)/32),
	}
	return t, t.checkFan()
}

// checkFan makes sure that no lookup can leave the rows.
func (t *Table) checkFan() error {
	last := uint32(0)
	for i := range 1 << t.bits {
		c := binary.BigEndian.Uint32(t.fan[i*countSize:])
		if c < last {
			return fmt.Errorf("%w %q: fan-out goes down", ErrDamaged, t.name)
		}
		last = c
	}
	if uint64(last) != uint64(t.n) {
		return fmt.Errorf("%w %q: fan-out counts %d rows, there are %d", ErrDamaged, t.name, last, t.n)
	}
	return nil
}

// catchFault, deferred with the old setting of SetPanicOnFault(true), turns a
// fault on mapped memory (the disk can't read a page, or somebody shortened the
// file) into an error of the function that defers it.
func catchFault(name string, err *error, old bool) {
	debug.SetPanicOnFault(old)
	r := recover()
	if r == nil {
		return
	}
	fault, ok := r.(interface{ Addr() uintptr })
	if !ok {
		panic(r)
	}
	*err = fmt.Errorf("%w %q: its mapping can't be read at %#x", ErrDamaged, name, fault.Addr())
}

// Name returns the name the table was opened by.
func (t *Table) Name() string { return t.name }

// Len returns the number of rows.
func (t *Table) Len() int { return t.n }

// Row returns row i of 0 to Len-1. It shares the mapping: it must not be
// written to and is valid until Close.
func (t *Table) Row(i int) (row []byte, err error) {
	if i < 0 || i >= t.n {
		return nil, fmt.Errorf("table %q: no row %d of %d", t.name, i, t.n)
	}
	if err := t.verify(i / t.layout.perBlock()); err != nil {
		return nil, err
	}
	return t.at(i), nil
}

func (t *Table) at(i int) []byte {
	w := t.layout.Row
	return t.rows[i*w : (i+1)*w : (i+1)*w]
}

// verify checks the checksum of block b unless that was done before.
func (t *Table) verify(b int) error {
	word, bit := &t.good[b/32], uint32(1)<<(b%32)
	if word.Load()&bit != 0 {
		return nil
	}
	if err := t.verifyBlock(b); err != nil {
		return err
	}
	word.Or(bit)
	return nil
}

func (t *Table) verifyBlock(b int) (err error) {
	defer catchFault(t.name, &err, debug.SetPanicOnFault(true))
	size := t.layout.perBlock() * t.layout.Row
	block := t.rows[b*size : min((b+1)*size, len(t.rows))]
	if checksum(block) != binary.BigEndian.Uint64(t.sums[b*sumSize:]) {
		return fmt.Errorf("%w %q: checksum of rows %d to %d does not match", ErrDamaged,
			t.name, b*t.layout.perBlock(), min((b+1)*t.layout.perBlock(), t.n)-1)
	}
	return nil
}

// Rows yields the rows from row from on, in order. After an error, which is
// yielded with a nil row, it ends.
func (t *Table) Rows(from int) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for i := max(from, 0); i < t.n; i++ {
			row, err := t.Row(i)
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// Verify reads every row and checks all checksums and the rows' order.
func (t *Table) Verify() (err error) {
	defer catchFault(t.name, &err, debug.SetPanicOnFault(true))
	var last []byte
	for b := range t.layout.blocks(t.n) {
		if err := t.verifyBlock(b); err != nil {
			return err
		}
	}
	for i := range t.n {
		row := t.at(i)
		if last != nil && string(last) > string(row) {
			return fmt.Errorf("%w %q: row %d is out of order", ErrDamaged, t.name, i)
		}
		last = row
	}
	return t.checkBuckets()
}

// checkBuckets checks that every row stands in the bucket of its key.
func (t *Table) checkBuckets() error {
	for i := range t.n {
		key := t.at(i)[:t.layout.Key]
		if lo, hi := t.bucket(prefix(key)); i < lo || i >= hi {
			return fmt.Errorf("%w %q: row %d is in another bucket than its key's", ErrDamaged, t.name, i)
		}
	}
	return nil
}

// Close unmaps the table.
func (t *Table) Close() error {
	if t.file == nil {
		return nil
	}
	f := t.file
	t.file = nil
	return f.Close()
}
