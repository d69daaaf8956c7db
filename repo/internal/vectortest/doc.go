// Package vectortest reads the committed test vectors of the store's formats:
// files of one failure, or one success, each. Tests of repo/object, repo/table,
// repo/pack, repo/index and repo run what their readers make of the bytes and
// compare with what the vector expects. It knows no format.
//
// A vector is a text file: lines of "name: value" (comment, expect, and inputs
// the format's reader needs), an empty line, and the bytes in hex.
package vectortest
