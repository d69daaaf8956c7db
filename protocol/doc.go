// Package protocol holds the bytes of the protocol between a client and a
// store: frames, one struct per message with its own encoder and decoder, the
// limits of each, and the errors that cross the wire.
//
// Its callers are protocol/client and protocol/server. It knows no repository,
// no ssh and starts no goroutine. Every message has exactly one encoding: what
// Unmarshal accepts, Append gives back byte for byte. The protocol is specified
// in packnback-protocol(7).
package protocol
