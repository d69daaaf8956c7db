// Package view reads snapshots: it finds the one that SNAP:/path names, opens
// its sealed part, walks its tree, reads the contents of its files, and checks
// the chain of signatures it stands in.
//
// The commands ls, find, diff, dump, stats, mount, verify and drill call it, and
// so does package restorer. It never writes anything but the files known_clients
// and drills, and never trusts a store: every object is authenticated and its id is
// recomputed before a byte of it is used, lengths are bounded before memory is
// allocated for them, and nothing it keeps grows with the number of files or
// objects of a snapshot.
//
// A walk runs in three stages; each waits when the next one is busy:
//
//	Store.Push ──records──▶ Decoder ──plaintext──▶ Walker ──entries──▶ caller
//	             8 MiB ahead
//
// The formats it reads are in packnback-repository(5), packnback-tree(5) and
// packnback-key(5); known_clients is in packnback-verify(1), drills in packnback-drill(1).
package view
