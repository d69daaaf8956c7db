// Package tree holds the plaintext formats that only the ends of a backup
// understand: directories, the extents of large files, and the sealed part of
// a manifest.
//
// The sender builds them with DirWriter, ListWriter and Summary; restorer,
// view and verify read them with ReadDir, ReadList and UnmarshalSummary. The
// package reads no file, computes no id and knows no cipher: it hands finished
// objects to an Emit function and asks a Load function for them. A store never
// imports it. The formats are specified in packnback-tree(5).
package tree
