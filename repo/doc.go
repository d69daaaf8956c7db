// Package repo is the store: a repository of sealed objects and signed
// snapshots on one disk, used by any number of processes at once.
//
// The command and protocol/server call it. It takes what senders put, checks
// that a snapshot is complete before it becomes one, and hands objects back to
// whoever holds a key. It never decrypts: nothing it imports could.
//
// The files, locks and the order of durable steps are specified in
// packnback-repository(5); the comments here name the parts of that page.
package repo
