package table

import (
	"bytes"
	"iter"
)

// source is one sorted input of a merge: head is its next row, nil at the end.
type source struct {
	head []byte
	next func() ([]byte, error, bool)
}

func (s *source) advance() error {
	row, err, ok := s.next()
	s.head = nil
	if ok && err == nil {
		s.head = row
	}
	return err
}

// Merge yields the rows of all inputs, each of which must be in ascending
// order, as one ascending sequence; equal rows are kept. A row is valid until
// the next one is asked for. After an error, which is yielded with a nil row,
// it ends.
func Merge(inputs ...iter.Seq2[[]byte, error]) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		sources := make([]*source, 0, len(inputs))
		for _, in := range inputs {
			next, stop := iter.Pull2(in)
			defer stop()
			sources = append(sources, &source{next: next})
		}
		merge(sources, yield)
	}
}

// Dedup yields rows without those that equal the one before.
func Dedup(rows iter.Seq2[[]byte, error]) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var last []byte
		first := true
		for row, err := range rows {
			if err == nil && !first && bytes.Equal(last, row) {
				continue
			}
			first = false
			last = append(last[:0], row...)
			if !yield(row, err) {
				return
			}
		}
	}
}

// merge keeps the sources in a binary heap by their heads.
func merge(sources []*source, yield func([]byte, error) bool) {
	h := make(sourceHeap, 0, len(sources))
	for _, s := range sources {
		if err := s.advance(); err != nil {
			yield(nil, err)
			return
		}
		if s.head != nil {
			h = append(h, s)
		}
	}
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
	for len(h) > 0 {
		if !yield(h[0].head, nil) {
			return
		}
		if err := h[0].advance(); err != nil {
			yield(nil, err)
			return
		}
		if h[0].head == nil {
			h[0] = h[len(h)-1]
			h = h[:len(h)-1]
		}
		h.down(0)
	}
}

// sourceHeap has the source with the smallest head first.
type sourceHeap []*source

func (h sourceHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && bytes.Compare(h[child+1].head, h[child].head) < 0 {
			child++
		}
		if bytes.Compare(h[i].head, h[child].head) <= 0 {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
