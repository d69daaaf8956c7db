// Package ui shows things to people and programs: the voice of errors and
// warnings, progress, tables, sizes, JSON lines, and names that other people
// chose, quoted so that they can't drive the terminal.
//
// Commands call it with finished values. It never decides what is an error and
// knows neither repositories nor keys. The JSON objects are specified in
// packnback(1), "JSON OUTPUT".
package ui
