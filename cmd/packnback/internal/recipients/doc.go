// Package recipients turns what a user has (a passphrase, a command that prints
// one, an SSH key, a hardware token with its age plugin) into plain
// age.Identity and age.Recipient values, and unlocks encrypted key files with
// them.
//
// The commands call it once per key file and run; package crypto does the rest.
// It is the only place where keys start processes: passphrase commands and age
// plugins. It never writes a file and never sees a backup. What it accepts is
// described in packnback-key(1).
package recipients
