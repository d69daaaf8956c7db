// Package index maps object ids to where in which pack their records are.
//
// A Segment is one immutable file: rows sorted by id, and a directory of the
// packs they lie in. A Set is the segments that are in force together; it finds
// all locations of an id, oldest first, because the first live one wins. A
// Collector gathers the locations of an upload under way. Segments are written
// from sorted entries and merged by streaming, so nothing here needs memory
// for more than the packs' names.
//
// The package does not know which segments are in force, which locations are
// condemned or quarantined, or when to merge: package repo does, and publishes
// the files. The format is specified in packnback-repository(5), "Index
// segments".
package index
