//go:build !race

package repo_test

const raceDetector = false
