// Package pack keeps many records in one file: it appends them, reads single
// ones back, and scans a whole file, damaged or cut off, for what is left.
//
// A pack is written by one session (or by one prune that copies), grows to
// about 64 MiB, is sealed, and never changes again; its name is never used a
// second time. It describes itself: an index that was lost is made again from
// packs alone. Which of its records count is the index's business, not the
// pack's. Nothing here decides what is kept, publishes names or syncs folders;
// package repo does. The format is specified in packnback-repository(5),
// "Packs".
package pack
