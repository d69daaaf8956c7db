// Package authorize writes the line of authorized_keys that gives one SSH key
// one kind of access to one repository and nothing else: a forced command with
// every right that sshd would grant beside it taken away.
//
// The command authorize calls it. It reads public keys, never private ones, and
// touches no file but authorized_keys. The line is specified in
// packnback-authorize(1).
package authorize
