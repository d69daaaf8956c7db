// Package retention decides which snapshots of one client and job a policy
// keeps, and which snapshots are unusual enough to brake it. It is pure
// arithmetic over times, flags and byte counts: it opens nothing, deletes
// nothing, and its caller (package repo) does what it says.
//
// The calendar meaning of the keep rules is the one restic documents for its
// forget command, applied to the store's received time. What is added to it,
// the brake, is specified in packnback-forget(1), "THE BRAKE".
package retention
