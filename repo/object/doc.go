// Package object holds what every part of packnback must agree on about the
// things a repository stores: ids, kinds, the record that carries one object,
// the signed public part of a manifest, the store's envelope around it, and
// the errors a store answers with.
//
// It reads and writes bytes; it opens no file, holds no key and knows no
// cipher, so the store can be built on it without being able to decrypt.
// The formats are specified in packnback-repository(5). All integers are
// unsigned and big-endian unless a comment says otherwise.
package object
