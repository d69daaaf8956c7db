// Package crypto is everything in packnback that touches a key: the texts of
// restore, list and send keys, the ids of objects, the session keys of an
// upload and the key objects that carry them, the sealing and opening of
// objects and of manifests, and the signature.
//
// The sender uses SendKey, IDs and Upload, and can open nothing with them. The
// restorer and the lister use ReadKey and Opener. The store uses none of it and
// must not import this package.
//
// It starts no process, opens no connection, asks nobody for a passphrase and
// compresses nothing: tokens, plugins and passphrases reach it as age.Identity
// and age.Recipient values, plaintexts as bytes with a codec byte. Apart from
// the key files that a caller names it reads and writes no files.
//
// Secrets are never printed: every type that holds one formats as its name.
// All formats are specified in packnback-key(5).
package crypto
