package sender

import "sync"

// buffers are reused memory for contents, in classes by powers of two.
type buffers struct {
	classes [24]sync.Pool // of *[]byte with capacity 1<<i
}

// smallestBuffer is the log2 of the smallest buffer that is worth keeping.
const smallestBuffer = 12

// get returns a buffer of length n and a handle to give back.
func (b *buffers) get(n int) *[]byte {
	class := smallestBuffer
	for 1<<class < n {
		class++
	}
	if class < len(b.classes) {
		if buf, ok := b.classes[class].Get().(*[]byte); ok {
			*buf = (*buf)[:n]
			return buf
		}
	}
	buf := make([]byte, n, 1<<class)
	return &buf
}

func (b *buffers) put(buf *[]byte) {
	class := smallestBuffer
	for 1<<class < cap(*buf) {
		class++
	}
	if class < len(b.classes) && cap(*buf) == 1<<class {
		b.classes[class].Put(buf)
	}
}
