// Package source walks the trees that are to be backed up and hands over what
// it finds, in the one order that a sorted cache can be read in step with.
//
// The sender calls NewPlan and Plan.Walk; the command builds the Filter from
// its flags. The package follows no symlink, descends by file descriptor so
// that neither long paths nor a folder swapped for a symlink lead it astray,
// and never writes below the trees. What entries become is specified in
// packnback-tree(5), what the flags mean in packnback-backup(1).
//
//	operands → Plan ─→ one goroutine in path order ─→ yield(Item)
//	                     ↑ listings, ready or made on the spot
//	                   workers: open, read names, sort, lstat, some folders ahead
package source
