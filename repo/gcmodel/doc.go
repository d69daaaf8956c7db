// Package gcmodel is an executable model of the protocol by which uploads,
// forget, unforget and prune share a repository (packnback-repository(5),
// "COMMIT, FORGET AND PRUNE"). Its explorer visits every state that a few
// sessions, prunes, kills and power cuts can reach and checks in each that
// everything reachable from a snapshot is there.
//
// Nothing imports it; its tests do the exploring. Each line of the protocol can
// be left out (Line), and the tests demand that the explorer then finds a lost
// object, an acknowledged snapshot gone, or space that is never freed. The order
// of durable steps here is the order in package repo; where they differ, one of
// them is wrong. A second, smaller model is about CURRENT alone, which commits,
// merges and prunes replace.
package gcmodel
