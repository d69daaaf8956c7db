//go:build linux || darwin || freebsd || dragonfly

package disk

import "golang.org/x/sys/unix"

// space returns the bytes left on path's file system, and its size. It counts
// what is left for users without root's reserve, because that is what a write
// will meet. On the BSDs, where the reserve may be eaten into, that goes below
// zero.
func space(path string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	unit := uint64(st.Bsize)
	return uint64(max(int64(st.Bavail), 0)) * unit, uint64(st.Blocks) * unit, nil
}
