package repo

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// networkTypes are file systems between machines, or that hide such a one
// (FUSE), by the magic of statfs(2).
var networkTypes = map[uint32]string{
	unix.NFS_SUPER_MAGIC:  "NFS",
	unix.SMB_SUPER_MAGIC:  "SMB",
	unix.SMB2_SUPER_MAGIC: "SMB",
	unix.CIFS_SUPER_MAGIC: "CIFS",
	unix.AFS_SUPER_MAGIC:  "AFS",
	unix.CEPH_SUPER_MAGIC: "Ceph",
	unix.V9FS_MAGIC:       "9P",
	unix.FUSE_SUPER_MAGIC: "FUSE (sshfs, for example)",
}

// networkFileSystem returns a warning when dir's file system may not lock
// between machines, and "" otherwise.
func networkFileSystem(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return ""
	}
	name, ok := networkTypes[uint32(st.Type)]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%q is on a network file system (%s): locks may not hold between machines, so use this repository from one machine only, best through ssh", dir, name)
}
