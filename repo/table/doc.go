// Package table keeps fixed-width rows, sorted, in immutable files that are
// mapped into memory and searched in place: the one data structure under the
// store's index segments and visible sets and the sender's cache. However many
// rows there are, a lookup allocates nothing and an open table costs a few
// bits for each 16 KiB of its file.
//
// A Writer writes rows that come in order, a Sorter takes them in any order
// and answers lookups meanwhile, a Table reads. What rows mean is the caller's
// business: it gives a Layout, whose magic names the kind of file and its
// version. Every block carries a checksum that is verified when the block is
// first touched, so rot shows as an error and never as a wrong answer.
//
// Nothing here replaces or publishes files: a Writer writes the name it is
// given. The format is specified in packnback-repository(5), "Tables".
package table
