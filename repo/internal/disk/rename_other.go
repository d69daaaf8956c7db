//go:build unix && !linux

package disk

import "golang.org/x/sys/unix"

// renameNoReplace is not to be had portably: Publish falls back to link.
func renameNoReplace(_, _ string) error { return unix.ENOSYS }
