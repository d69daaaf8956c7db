// Package viewtest builds snapshots in memory, honest ones and hostile ones,
// for the tests of what reads snapshots.
//
// Tests of view, restorer and mount use it. It seals with real keys and writes
// real trees, so that what a reader refuses is refused for the reason that the
// test means. Nothing of it is part of the program.
package viewtest
