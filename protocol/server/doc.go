// Package server is the store's end of one connection: it speaks the protocol
// with a client and lets it do to one repository what the connection's mode
// permits, and nothing else.
//
// Its caller is the command serve, which an sshd forces. It trusts nothing that
// comes over the wire: modes.go has the one table that says which message which
// permission needs, and pins.go decides about names and paths. It holds no key
// and, like the repository below it, links no cipher and no tree format. A
// connection's memory is bounded by one message in, two batches out and one
// record for each stream; nothing it starts outlives Serve.
//
// The protocol is specified in packnback-protocol(7), the attacks that this
// package has to stand in packnback-security(7).
package server
