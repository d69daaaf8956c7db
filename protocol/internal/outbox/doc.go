// Package outbox sends the messages of one direction of a connection: it
// gathers them in memory while a write is under way and writes what has
// gathered in one go, so that a link with a long round trip or a costly write
// sees few, large writes, and a lone message still leaves at once.
//
// Both protocol/client and protocol/server own one. It knows nothing of what the
// messages of packnback-protocol(7) mean.
package outbox
