//go:build netbsd || solaris

package disk

import "golang.org/x/sys/unix"

// space returns the bytes left on path's file system, and its size; see
// space_statfs.go.
func space(path string) (free, total uint64, err error) {
	var st unix.Statvfs_t
	if err := unix.Statvfs(path, &st); err != nil {
		return 0, 0, err
	}
	return uint64(st.Bavail) * uint64(st.Frsize), uint64(st.Blocks) * uint64(st.Frsize), nil
}
