package table

import "github.com/packnback/packnback/repo/internal/disk"

// Exclusive is the mode in which the sender's cache takes FS.Lock: one run at
// a time.
const Exclusive = disk.Exclusive

// ErrLocked is wrapped by FS.Lock when somebody else holds the lock.
var ErrLocked = disk.ErrLocked
