//go:build !linux

package repo

// networkFileSystem knows nothing about file systems here.
func networkFileSystem(string) string { return "" }
