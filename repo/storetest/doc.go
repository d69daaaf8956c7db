// Package storetest is the conformance suite of a store: the same tests for a
// repository in this process and for one at the other end of a connection.
//
// Tests of package repo and of the protocol call Run. The objects it stores are
// made up (Upload): their sealed bytes are noise, since a store can't open any.
package storetest
