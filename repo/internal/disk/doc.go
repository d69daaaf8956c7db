// Package disk is the seam between a repository and the file system: the few
// operations whose durability and atomicity the store's protocol rests on.
//
// Above it nothing in repo calls package os. Below it there are two file
// systems: the real one (OS), and crashdisk's, which keeps everything in
// memory, loses unsynced data on demand and injects errors.
package disk
