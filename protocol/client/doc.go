// Package client is the client's end of one connection to a store: uploads,
// reading and administration of a repository on another machine, with the
// methods that a local repository has, so that the sender, the restorer and
// the views can't tell which of the two they work on.
//
// Its callers are the commands of cmd/packnback. Everything is pipelined: puts
// have no answer, questions and streams are numbered and run side by side, and
// one goroutine writes and one reads, both owned by the Conn. Nothing that
// comes from the store is believed that the client can check; a store that
// sends more than was asked for, or something else, loses the connection.
//
// The protocol is specified in packnback-protocol(7).
package client
