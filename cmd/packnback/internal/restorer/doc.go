// Package restorer writes what is in a snapshot into a folder of this machine.
//
// The command restore calls it. It never trusts a snapshot: every
// system call works relative to an open folder that was reached one name at a
// time without following a symlink, no existing file is ever written into, and
// device nodes, set-id bits and file capabilities come back only when root asks
// for them. It never says that a file was restored when a byte of it is missing.
// What it promises is in packnback-restore(1).
//
// A run is a pipeline; its memory is bounded by the windows in flight:
//
//	plan ──windows──▶ fetch ×3 ──objects──▶ decode + write ×cores
//	  │                                            │
//	  └──────────windows, in order──────────▶ settle: hard links, extra files,
//	                                           times and modes of folders
//
// A window is a run of the walk, bounded in entries and in distinct objects.
// Each object is fetched once for a window, in whatever order the store likes,
// and written to wherever the window wants it. A file gets its name when it is
// complete, metadata included; a folder gets its metadata when the window in
// which the walk left it, and all windows before, are done.
package restorer
