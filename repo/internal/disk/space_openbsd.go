package disk

import "golang.org/x/sys/unix"

// space returns the bytes left on path's file system, and its size; see
// space_statfs.go.
func space(path string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	unit := uint64(st.F_bsize)
	return uint64(max(st.F_bavail, 0)) * unit, st.F_blocks * unit, nil
}
