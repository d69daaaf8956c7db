// Package mount shows snapshots as a read-only file system, by FUSE.
//
// The command mount calls it. It never writes anything, never follows what a
// snapshot names, and keeps bounded caches: what the kernel has looked up, the
// directories and the content used last. What the tree of folders looks like
// is in packnback-mount(1).
package mount
