// Package copier copies snapshots from one repository to a replica of it, with
// no key and without sending what is there.
//
// Its one caller is the command copy. Whether the two repositories are on a disk
// or behind a connection is nothing to it.
//
//	chains of both ─ plan ─▶ for each job, in order: snapshots to copy, links to add
//
//	roots of some snapshots
//	      │
//	      ▼
//	   ids never asked about ─ have? (replica) ─▶ fetch (source) ─┬─ chunk, bundle, key ─▶ put
//	      ▲                                                      │
//	      └──────── refs ◀──────── spill, a file ◀───────────────┴─ list, directory
//
//	spill, last first ─▶ put ─▶ commit, snapshot by snapshot
//
// A list or directory is put after what it refers to, so what a cut-off copy has
// put of a tree is whole below, and the next run needs to ask about its top only.
// What is in memory is bounded: ids that were asked about, ids that are lost and
// the lists and directories themselves lie in files, and of each snapshot some
// hundred bytes are kept.
//
// What may be copied, and what the replica makes of it, is specified in
// packnback-repository(5), "Replicas".
package copier
