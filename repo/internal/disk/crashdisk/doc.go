// Package crashdisk is a disk.FS in memory for tests. It can be killed, cut off
// from power, filled up and made to fail, and does all that the same way for
// the same seed.
//
// A Disk is one machine: a disk and the kernel that caches it. A Process is a
// disk.FS through which one process uses it; Kill ends that process as
// kill -9 does: its locks are free, its calls fail, what it wrote stays. Crash
// makes the Disk that is found after the power went off and on again.
//
// # What a power cut leaves
//
// The bytes of a file that Sync covered are there. Of the others every page of
// 4 KiB is there, or zero, or torn (its beginning is there and the rest zero), or
// rarely garbage; and the file's length is any between the synced and the last
// one. A Sync that failed covers nothing, and neither does a later one for the
// same bytes.
//
// A name is durable by SyncDir of the folder it stands in, and by nothing else:
// not by Sync of the file, nor by SyncDir of a folder below. Of the changes of
// one name since then any number is lost, the latest first; changes of
// different names are kept or lost without regard to their order. A folder
// whose own name is lost takes with it all that is below. Publish and Replace
// change two names. Either may be lost alone, with one exception: when the
// removal of the old name survives, so does the new one (and the folders above
// it). SyncDir of the old name's folder therefore makes both durable; SyncDir
// of the new name's folder leaves the old name free to come back.
//
// That is less than what common file systems promise and as much as POSIX
// lets a program rely on, beyond one thing: synced bytes don't rot. Corrupt
// changes them where a test wants rot.
package crashdisk
