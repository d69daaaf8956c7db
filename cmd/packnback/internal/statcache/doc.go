// Package statcache remembers what the last backup of one client and job saw
// and sent, so that the next one reads, asks and sends only what is new.
//
// The sender is its only caller. A cache is a folder with immutable sorted
// files that one small file, replaced atomically, names as a generation:
//
//	walk      path → stat, directory entry, ids     read in step with the walk
//	content   content id → place in a bundle        asked for every new small file
//	objects   ids that the base snapshot reaches    asked for every object
//
// A run reads the old generation and writes the new one beside it; the new one
// becomes current only after the store has the snapshot it describes. A run
// that is cut off leaves its part of the walk and a log of what it put; the
// next run takes from them what the store has acknowledged as durable.
//
// The package never decides whether a file is unchanged, never talks to a
// store, and is never needed for a correct backup: whatever is foreign, stale,
// truncated or corrupted is discarded with a note, and costs time. What grows
// with the number of files is on disk, never in memory. The formats are
// specified in packnback-cache(5).
package statcache
