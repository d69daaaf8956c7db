//go:build race

package repo_test

// raceDetector makes everything about ten times slower.
const raceDetector = true
